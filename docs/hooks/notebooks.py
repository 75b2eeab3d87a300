"""Notebooks as pages: text and code as Markdown, pictures as files, with a link to the notebook itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page, ``notebooks/NAME.md``, for each notebook of the folder.

    Args:
        files: of the site.
        config: of the site.
    """
    for path in sorted(Path(config.docs_dir, "notebooks").glob("*.ipynb")):
        text, pictures = page_of(json.loads(path.read_text(encoding="utf-8")), path.stem)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def page_of(notebook: Mapping[str, Any], name: str) -> tuple[str, dict[str, bytes]]:
    """Turn a notebook into a page.

    Args:
        notebook: as its file has it, nbformat 4.
        name: of its file, without the ending.

    Returns:
        Markdown, and the PNG pictures by the names that it refers to.
    """
    pictures: dict[str, bytes] = {}
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif source:
            parts.append(f"```python\n{source}\n```")
            parts += [part for output in cell["outputs"] for part in _shown(output, name, pictures)]
    parts.insert(1, f"This page is the notebook [{name}.ipynb]({name}.ipynb), as it ran.")
    return "\n\n".join(parts) + "\n", pictures


def _shown(output: Mapping[str, Any], name: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """What an output of a cell looks like on the page: its picture, table or text."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = f"{name}_{len(pictures) + 1}.png"
        pictures[picture] = base64.b64decode("".join(data["image/png"]))
        yield f"![output of the cell above]({picture})"
        return
    text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
    if "text/markdown" in data:
        yield "".join(data["text/markdown"])
    elif text:
        yield f"```text\n{text}\n```"
