"""Pages made from the source at build time, without importing it: help texts, tables, and lists of modules.

``*`` in the navigation stands for all pages of a folder, so that a new page is never forgotten.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from segmend import COMMANDS, function_name
from segmend.cli.help import explanation, overview

_KINDS = {
    "supervised": "any",
    "semi": "expert + unlabelled",
    "noisy": "noisy, quality unknown",
    "mixed": "expert + noisy",
}
"""Folders of methods, and the labels they are for."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace ``folder/*`` in the navigation by the pages of the folder.

    Args:
        config: of the site.
    """
    config.nav = _expanded(config.nav or [], Path(config.docs_dir))
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages.

    Args:
        files: of the site.
        config: of the site.
    """
    source = Path(config.config_file_path).parent / "src/segmend"
    pages = {
        "reference/command_line.md": _command_line(),
        "reference/commands.md": _commands(),
        "reference/methods.md": _method_table(source),
        "reference/functional.md": _modules(source, "functional", "Functional: losses and other pure mathematics"),
        "reference/components.md": _modules(source, "methods/components", "Components of methods: stateful parts"),
        "reference/networks.md": _modules(source, "networks", "Networks"),
        "reference/noise.md": _modules(source, "noise", "Recipes of label noise"),
        "reference/metrics.md": _modules(source, "metrics", "Metrics and statistics"),
    }
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files


def _expanded(nav: Sequence[Any], docs: Path) -> list[Any]:
    return [each for item in nav for each in _item(item, docs)]


def _item(item: Any, docs: Path) -> Iterator[Any]:
    if isinstance(item, Mapping):
        yield {title: _expanded(value, docs) if isinstance(value, list) else value for title, value in item.items()}
    elif isinstance(item, str) and item.endswith("/*"):
        yield from sorted((path.relative_to(docs).as_posix() for path in docs.glob(f"{item}.md")), key=str.lower)
    else:
        yield item


def _command_line() -> str:
    parts = ["# Command line", _fenced(overview(COMMANDS))]
    for name, module in COMMANDS.items():
        parts += [f"## segmend {name}", _fenced(explanation(name, module))]
    return "\n\n".join(parts)


def _commands() -> str:
    text = (
        "Each command of the command line is a function, `segmend.train(...)`. Arguments are given by name. Paths may "
        "be text; `method`, `network` and `recipe` may be the name of a class, the class, a `functools.partial` of it, "
        'or an instance: `method="PLIL"`, `method=segmend.PLIL`, `method=partial(segmend.PLIL, passes=4)`.'
    )
    parts = ["# Commands as functions", text]
    for name, module in COMMANDS.items():
        function = function_name(name)
        if function != "methods":
            parts.append(_documented(f"{module}.{function}", heading=f"segmend.{function}"))
    return "\n\n".join(parts)


def _method_table(source: Path) -> str:
    rows = ["# Methods", "", "| labels | method | paper | networks and cost |", "|---|---|---|---|"]
    classes = []
    for folder, labels in _KINDS.items():
        for path in sorted((source / "methods" / folder).glob("[!_]*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                values = _class_values(node)
                if isinstance(node, ast.ClassDef) and "kind" in values:
                    page = f"[{node.name}](../methods/{node.name}.md)"
                    rows.append(f"| {labels} | {page} | {values.get('paper', '')} | {values.get('cost', '')} |")
                    classes.append(_documented(f"segmend.methods.{folder}.{path.stem}.{node.name}", heading=node.name))
    return "\n".join([*rows, "", *classes])


def _class_values(node: ast.stmt) -> dict[str, object]:
    """What a class assigns to names in its body, where it is a constant."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    return {
        target.id: each.value.value
        for each in body
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant)
        for target in each.targets
        if isinstance(target, ast.Name)
    }


def _modules(source: Path, package: str, title: str) -> str:
    root = source / package
    init = ast.get_docstring(ast.parse((root / "__init__.py").read_text(encoding="utf-8"))) or ""
    parts = [f"# {title}", init]
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name != "__init__.py" and any(map(_is_public, tree.body)):
            dotted = ".".join(path.relative_to(source.parent).with_suffix("").parts)
            parts.append(_documented(dotted, heading=dotted.removeprefix("segmend.")))
    return "\n\n".join(parts)


def _is_public(node: ast.stmt) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")


def _documented(name: str, *, heading: str) -> str:
    """What makes mkdocstrings document an object, under a heading of level 2."""
    return f"::: {name}\n    options:\n      heading: {heading}\n      heading_level: 2\n"


def _fenced(text: str) -> str:
    return f"```text\n{text}\n```"
