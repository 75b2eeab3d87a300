"""segmend methods."""

from __future__ import annotations

import inspect
import json as json_format
import os
import sys
from typing import Any

from docstring_parser import parse as parse_docstring
from rich.console import Console
from rich.table import Table

from segmend.core.config import plain
from segmend.core.errors import InputError, did_you_mean
from segmend.methods import Method, all_methods
from segmend.networks import all_networks


def methods(*, name: str | None = None, json: bool = False) -> list[dict[str, Any]]:
    """List the methods, or explain one.

    Args:
        name: the method to explain; also given without --name, right behind the command.
        json: print JSON for programs.

    Returns:
        One description for each method listed.

    Raises:
        InputError: there is no such method.

    Example:
        segmend methods PLIL
    """
    known = all_methods()
    if name is not None and name not in known:
        raise InputError("methods", f"there is no '{name}'", did_you_mean(name, known), code="unknown-name")
    chosen = known if name is None else {name: known[name]}
    descriptions = [_description(cls) for cls in chosen.values()]
    if json:
        print(json_format.dumps(descriptions, indent=1))
    elif name is None:
        _print_table(descriptions)
    else:
        _print_page(known[name], descriptions[0])
    return descriptions


def _description(cls: type[Method]) -> dict[str, Any]:
    text = parse_docstring(cls.__doc__ or "")
    explained = {parameter.arg_name: parameter.description for parameter in text.params}
    parameters = [p for p in inspect.signature(cls).parameters.values() if p.name != "network"]
    arguments = {parameter.name for parameter in parameters}
    return {
        "name": cls.__name__,
        "kind": cls.kind,
        "paper": cls.paper,
        "needs": str(cls.needs),
        "known": [
            *(["expert labels"] if cls.needs.expert else []),
            *(["noise rate"] if "noise_rate" in arguments else []),
        ],
        "cost": cls.cost,
        "networks": [
            name
            for name, network in all_networks().items()
            if (network.decoder_scales or "features" not in arguments)
            and (network.encoder_stages or not {"shared", "encoder_features"} & arguments)
        ],
        "arguments": [
            {"name": p.name, "default": plain(p.default), "type": str(p.annotation), "help": explained.get(p.name, "")}
            for p in parameters
        ],
        "summary": text.short_description or "",
    }


def _print_table(descriptions: list[dict[str, Any]]) -> None:
    table = Table("method", "for labels", "must be known", "cost of a step", "what it does", box=None, pad_edge=False)
    for row in descriptions:
        known = ", ".join(row["known"]) or "nothing"
        table.add_row(row["name"], row["kind"], known, row["cost"], row["summary"])
    # Without a terminal the width of lines is unknown.
    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if has_width else 160).print(table)


def _print_page(cls: type[Method], description: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{cls.__name__}[/bold]  ({cls.kind})")
    console.print(inspect.getdoc(cls) or "", markup=False)
    defaults = ", ".join(f"{argument['name']}={argument['default']}" for argument in description["arguments"])
    known = " and ".join(description["known"]) or "nothing"
    needs = f"A batch holds {description['needs']}; must be known: {known}."
    console.print(f"\nDefaults: {defaults or 'none'}\n{needs}", markup=False)
    console.print(f"Cost: {cls.cost}.\n{cls.paper}".rstrip(), markup=False)
