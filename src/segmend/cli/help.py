"""The texts of ``--help``, read from the source of the commands without importing them.

Torch, Lightning and MONAI take seconds to import; what a command does and takes stands in its signature and docstring.
"""

from __future__ import annotations

import ast
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from docstring_parser import Docstring
from docstring_parser import parse as parse_docstring

from segmend import function_name
from segmend.cli.names import flag_of

_ROOT = Path(__file__).parent.parent
_INDENT = 26
_VALUES = {
    "Path": "PATH",
    "int": "N",
    "float": "X",
    "bool": "true|false",
    "str": "TEXT",
    "object": "VALUE",
    "Any": "VALUE",
}
_CHOSEN = {"Method": ("METHOD", "methods"), "Network": ("NETWORK", "networks"), "Recipe": ("RECIPE", "noise")}
"""Types whose classes are chosen by name: the placeholder for the name, and the package of the classes."""


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        name: with dashes.
        value: what stands for its value.
        text: what it means.
        default: as it is written on the command line; None if the option must be given, "" if it needs no mention.
    """

    name: str
    value: str
    text: str
    default: str | None


_OF_EVERY_COMMAND = (
    Option("--config", "FILE", "a YAML file with options, such as a run's config.yaml", ""),
    Option("--import", "MODULE", "a module of your own, whose classes files may then name, such as those of a run", ""),
    Option("--print_config", "", "print the options as such a YAML file", ""),
    Option("--debug", "", "show where an error comes from", ""),
    Option("-h, --help", "", "show this text", ""),
)


def overview(commands: Mapping[str, str]) -> str:
    """The list of all commands.

    Args:
        commands: modules by the names of the commands.
    """
    summaries = {name: _docstring(_function(module, name)).short_description or "" for name, module in commands.items()}
    width = max(map(len, commands)) + 2
    package = ast.get_docstring(_module("segmend")) or ""
    return "\n".join(
        [
            "usage: segmend COMMAND [options]",
            "",
            package.splitlines()[0],
            "",
            *[f"  {name:<{width}}{summary}" for name, summary in summaries.items()],
            "",
            "'segmend COMMAND --help' explains a command, with an example.",
        ]
    )


def explanation(name: str, module: str) -> str:
    """What a command does, its options, and an example.

    Args:
        name: of the command.
        module: that holds its function.
    """
    function = _function(module, name)
    text = _docstring(function)
    options = list(_options(function, module))
    required = [option for option in options if option.default is None]
    usage = " ".join([f"segmend {name}", *[f"{option.name} {option.value}" for option in required], "[options]"])
    parts = [f"usage: {usage}", _paragraphs(text)]
    for title, chosen in (("required", required), ("options", [each for each in options if each.default is not None])):
        if chosen:
            parts.append("\n".join([f"{title}:", *map(_shown, chosen)]))
    parts += [_names(option, package) for option, package in _choices(function)]
    parts.append("\n".join(["of every command:", *map(_shown, _OF_EVERY_COMMAND)]))
    example = next((meta.description for meta in text.meta if meta.args[:1] == ["examples"]), None)
    if example:
        parts.append(f"example:\n{textwrap.indent(textwrap.dedent(example), '  ')}")
    return "\n\n".join(parts)


def _paragraphs(text: Docstring) -> str:
    blocks = [text.short_description or "", *(text.long_description or "").split("\n\n")]
    return "\n\n".join(textwrap.fill(" ".join(block.split()), _width()) for block in blocks if block.strip())


def _options(function: ast.FunctionDef, module: str) -> Iterator[Option]:
    meanings = {each.arg_name: each.description or "" for each in _docstring(function).params}
    positional = function.args.args
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(function.args.defaults)) + function.args.defaults
    for argument, default in [
        *zip(positional, defaults, strict=True),
        *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True),
    ]:
        assert argument.annotation
        group = _dataclass(argument.annotation, module)
        if group and argument.arg in _spread(function):
            yield from _fields("", group, module, _keywords(default))
        elif group:
            yield from _fields(f"{argument.arg}.", group, module)
        else:
            value = _value(argument.annotation, module)
            yield Option(flag_of(argument.arg), value, meanings.get(argument.arg, ""), _default(default, module))


def _fields(
    prefix: str, group: ast.ClassDef, module: str, defaults: Mapping[str, ast.expr] = MappingProxyType({})
) -> Iterator[Option]:
    """The options of a group, in a group within it too.

    Args:
        prefix: of their names.
        group: a dataclass.
        module: where its name is known.
        defaults: those of the command that differ from the group's own.
    """
    meanings = {each.arg_name: each.description or "" for each in _docstring(group).params}
    home = _home(group.name, module)
    for field in group.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            name = field.target.id
            inner = _dataclass(field.annotation, home)
            if inner:
                yield from _fields(f"{prefix}{name}.", inner, home)
                continue
            default = _default(defaults.get(name, field.value), home)
            yield Option(f"--{prefix}{name}", _value(field.annotation, home), meanings.get(name, ""), default)


def _spread(function: ast.FunctionDef) -> set[str]:
    """Arguments of a command that are groups whose fields are arguments of their own, see ``core.options.spread``."""
    return {
        each.args[0].value
        for each in function.decorator_list
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "spread" and isinstance(each.args[0], ast.Constant)
        if isinstance(each.args[0].value, str)
    }


def _keywords(call: ast.expr | None) -> dict[str, ast.expr]:
    """The keywords of a call, by name."""
    return {each.arg: each.value for each in call.keywords if each.arg} if isinstance(call, ast.Call) else {}


def _default(value: ast.expr | None, module: str) -> str | None:
    if value is None:
        return None
    named = _definition(value.id, module) if isinstance(value, ast.Name) else None
    if isinstance(named, ast.Assign):
        return _default(named.value, module)
    if isinstance(value, ast.Constant):
        shown = "" if value.value is None else str(value.value)
        return shown.lower() if isinstance(value.value, bool) else shown
    shown = ast.unparse(value).removesuffix("()")
    return "" if shown == "math.inf" else shown


def _value(annotation: ast.expr, module: str) -> str:
    """What stands for a value of a type."""
    if isinstance(annotation, ast.BinOp):
        sides = [_value(side, module) for side in (annotation.left, annotation.right)]
        return "|".join(dict.fromkeys(side for side in sides if side))
    if isinstance(annotation, ast.Constant):
        return "" if annotation.value is None else str(annotation.value)
    if isinstance(annotation, ast.Subscript):
        kind = ast.unparse(annotation.value)
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if kind == "Callable":
            return _value(inner[-1], module)
        if kind == "Literal":
            return "|".join(_value(each, module) for each in inner)
        return f"{_value(inner[0], module)} [{_value(inner[0], module)} ...]"
    name = ast.unparse(annotation)
    if name in _CHOSEN:
        return _CHOSEN[name][0]
    alias = _definition(name, module)
    if isinstance(alias, ast.Assign):
        return _value(alias.value, module)
    return _VALUES.get(name, name.upper())


def _shown(option: Option) -> str:
    head = f"  {option.name} {option.value}".rstrip()
    default = f" (default: {option.default})" if option.default else ""
    lines = textwrap.wrap(" ".join(option.text.split()) + default, max(_width() - _INDENT, 30)) or [""]
    if len(head) < _INDENT - 1:
        lines[0] = f"{head:<{_INDENT}}{lines[0]}"
    else:
        lines.insert(0, head)
    return "\n".join([lines[0], *[" " * _INDENT + line for line in lines[1:]]]).rstrip()


def _choices(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Arguments that choose a class by its name, and the package of the classes."""
    for argument in (*function.args.args, *function.args.kwonlyargs):
        for _, package in _CHOSEN.values():
            if argument.arg == package.removesuffix("s") or (argument.arg, package) == ("recipe", "noise"):
                yield argument.arg, package


def _names(option: str, package: str) -> str:
    known = sorted(
        alias.name
        for node in _module(f"segmend.{package}").body
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.split(".")[-1].startswith("_")
        for alias in node.names
        if alias.name[0].isupper() and not _is_helper(alias.name, node.module)
    )
    title = f"{option}s (--{option}.help NAME lists the options of one):"
    return f"{title}\n{textwrap.fill(' '.join(known), _width(), initial_indent='  ', subsequent_indent='  ')}"


def _is_helper(name: str, module: str) -> bool:
    """Whether a name is that of a class without a base: methods, networks and recipes all have one."""
    found = _definition(name, module)
    return isinstance(found, ast.ClassDef) and not found.bases


def _docstring(node: ast.FunctionDef | ast.ClassDef) -> Docstring:
    return parse_docstring(ast.get_docstring(node) or "")


def _function(module: str, name: str) -> ast.FunctionDef:
    return next(
        node for node in _module(module).body if isinstance(node, ast.FunctionDef) and node.name == function_name(name)
    )


def _dataclass(annotation: ast.expr, module: str) -> ast.ClassDef | None:
    """The options of a group, if the type of an argument is one: a dataclass of this package."""
    if not isinstance(annotation, ast.Name):
        return None
    found = _definition(annotation.id, module)
    if isinstance(found, ast.ClassDef) and any("dataclass" in ast.unparse(each) for each in found.decorator_list):
        return found
    return None


def _definition(name: str, module: str) -> ast.stmt | None:
    """Where a module, or the one that it imports the name from, defines a class or type alias."""
    for node in _module(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return _definition(name, node.module) if node.module and node.module.startswith("segmend.") else None
    return None


def _home(name: str, module: str) -> str:
    """The module that defines a name that another one imports."""
    for node in _module(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and name in {alias.name for alias in node.names}:
            return _home(name, node.module) if node.module.startswith("segmend.") else module
    return module


@cache
def _module(name: str) -> ast.Module:
    path = _ROOT.joinpath(*name.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 110)
