"""Pictures that contain names from other people's files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from segmend.core.errors import printable
from segmend.core.io import atomic_file


def save_picture(figure: Figure, path: Path, dpi: int) -> None:
    """Write a picture, atomically. Its texts are shown literally: ``$`` does not start a formula.

    Args:
        figure: the figure to write.
        path: the file; its ending chooses the format.
        dpi: dots per inch.

    Raises:
        InputError: the file cannot be written.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        shown = printable(text.get_text(), keep="\n")
        if shown != text.get_text():
            text.set_text(shown)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def legend_name(name: str) -> str:
    """The name in a form that a legend shows: matplotlib leaves out those that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name
