"""Pictures and pages that hold names from other people's files: all text is shown literally."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
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


def template(package: str, name: str) -> Template:
    """A template of a package. All text that it is given is escaped: a case may be called ``<script>``.

    Args:
        package: that holds the file.
        name: of the file.
    """
    environment = Environment(
        loader=FunctionLoader(lambda file: files(package).joinpath(file).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
