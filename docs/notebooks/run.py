"""Run the notebooks of this folder again and keep what they show: 'make notebooks'."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
_TIMEOUT_S = 1800


def executed(path: Path) -> nbformat.NotebookNode:
    """Run a notebook in a process of its own.

    Args:
        path: of the notebook.

    Returns:
        The notebook with its outputs, without progress lines and times.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=_TIMEOUT_S, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def _is_progress(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a line of progress or a warning, which differ from run to run."""
    html = output.get("data", {}).get("text/html", "")
    return output.get("name") == "stderr" or (output.output_type == "display_data" and html.startswith("<pre style"))


def main() -> None:
    """Run those that are named, or all."""
    for path in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(executed(path), path)


if __name__ == "__main__":
    main()
