"""Files of arguments (``--config``), and classes that a command line names: checked before anything is looked up.

A file may come from somebody else: it names classes of Segmend, or of a module that the user has named on the command
line as well. Nothing is imported or called because a file says so. See docs/decisions/016-classes-in-files.md.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import yaml

from segmend.cli.errors import check_entry
from segmend.cli.names import command_name
from segmend.cli.parameters import chooses_class
from segmend.core.config import WEIGHTS_DIGEST, class_named
from segmend.core.documents import DamagedError, Place, parse_yaml, read_yaml, yaml_text
from segmend.core.errors import InputError, did_you_mean

_FROM_DATA = {"network", "in_channels", "classes", "dimensions"}
"""Parameters of those classes that the data decide."""

_CLASS, _ARGUMENTS = "class_path", "init_args"
_BELOW = "write 'ARGUMENT: VALUE' lines below it"


class ConfigError(InputError):
    """A file of arguments holds something that cannot be used."""


def checked(given: Sequence[str], command: Callable[..., Any]) -> list[str]:
    """The words of a command line with files of arguments read and every named class verified.

    Modules after ``--import``, and those of classes given by a dotted path, are imported: the user has typed them.
    Files come first, so that words win over them, and each is replaced by its content.

    Args:
        given: words in pairs, ``--NAME VALUE``.
        command: function of the command.

    Raises:
        ConfigError: a file holds something that cannot be used.
        InputError: a word does.
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    files: list[str] = []
    words: list[str] = []
    for word, value in _pairs(given):
        name = word.removeprefix("--")
        if value is None or not word.startswith("--"):
            words += [word] if value is None else [word, value]
        elif name == "import":
            _imported(value, "--import")
        elif name == "config":
            files.append(value)
        elif _CLASS in name or (_CLASS in value and "." in name):
            raise InputError(
                word,
                "names a class",
                "give classes as --method, --network or --recipe NAME alone",
                code="invalid-value",
            )
        elif name.removesuffix(".help") in parameters and chooses_class(name.removesuffix(".help"), command):
            words += [word, _checked_word(word, name.removesuffix(".help"), value)]
        elif name in parameters and is_dataclass(parameters[name].annotation) and Path(value).is_file():
            words += [word, yaml_text(_content_of_part(Path(value)))]
        else:
            words += [word, value]
    contents = [yaml_text(_checked_file(file, command, parameters)) for file in files]
    return [word for content in contents for word in ("--config", content)] + words


def _checked_file(
    file: str, command: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
) -> dict[str, Any]:
    if not file.lstrip().startswith("{") and not Path(file).exists():
        raise InputError(
            "--config", f"there is no file '{file}'", "give a YAML file, such as RUN/config.yaml", code="missing-file"
        )
    try:
        content, places = _parsed(file, "--config") if file.lstrip().startswith("{") else read_yaml(Path(file))
        where = "--config" if file.lstrip().startswith("{") else file
        if not isinstance(content, dict):
            raise InputError(
                where,
                "holds no arguments",
                f"write lines 'ARGUMENT: VALUE' of 'segmend {command_name(command)}'",
                code="missing-value",
            )
        content.pop(WEIGHTS_DIGEST, None)
        for key in [key for key in content if key not in parameters and f"{key}_" in parameters]:
            content[f"{key}_"] = content.pop(key)
            places = {**places, (f"{key}_",): places[key,]}
        for key, value in content.items():
            place = (key,)
            if key not in parameters:
                problem = f"'{key}' is not an argument of 'segmend {command_name(command)}'"
                raise InputError(places[place], problem, did_you_mean(key, parameters), code="unknown-name")
            if chooses_class(key, command):
                content[key] = _checked_choice(key, value, places)
            else:
                _check_plain(value, place, places)
                if is_dataclass(parameters[key].annotation) and not isinstance(value, dict):
                    raise InputError(places[place], f"'{key}' is not a mapping", _BELOW, code="invalid-value")
                check_entry(places[place], key, value, command)
    except InputError as error:
        raise ConfigError(error.where, error.problem, error.remedy, error.details, code=error.code) from error
    return content


def _checked_choice(key: str, value: Any, places: Mapping[Place, str]) -> Any:
    """The choice of a class in a file, its path complete."""
    known, base = _CHOOSING[key]()
    if value is None:
        return None
    if isinstance(value, str):
        return _path(class_named(value, known, base, where=places[key,]))
    if not isinstance(value, dict):
        raise InputError(places[key,], f"'{key}' names no {key}", did_you_mean("", known), code="missing-value")
    for part in value:
        if part not in (_CLASS, _ARGUMENTS):
            remedy = f"write {_CLASS} and {_ARGUMENTS} below '{key}'"
            raise InputError(places[key, part], f"'{part}' is not known of a {key}", remedy, code="unknown-name")
    arguments = value.get(_ARGUMENTS) or {}
    if not isinstance(arguments, dict):
        raise InputError(places[key, _ARGUMENTS], f"{_ARGUMENTS} is not a mapping", _BELOW, code="invalid-value")
    _check_plain(arguments, (key, _ARGUMENTS), places)
    if _CLASS not in value:
        return value
    if not isinstance(value[_CLASS], str):
        raise InputError(
            places[key, _CLASS], f"{_CLASS} of the {key} is not text", did_you_mean("", known), code="invalid-value"
        )
    cls = class_named(value[_CLASS], known, base, where=places[key, _CLASS])
    _check_arguments(cls, arguments, (key, _ARGUMENTS), places)
    return {_CLASS: _path(cls), _ARGUMENTS: arguments}


def _check_arguments(cls: type[Any], arguments: Mapping[str, Any], place: Place, places: Mapping[Place, str]) -> None:
    taken = set(inspect.signature(cls).parameters) - _FROM_DATA
    for argument in arguments:
        if argument not in taken:
            problem = f"{cls.__name__} has no argument '{argument}'"
            raise InputError(places[*place, argument], problem, did_you_mean(argument, taken), code="unknown-name")


def _check_plain(value: Any, place: Place, places: Mapping[Place, str]) -> None:
    """Makes sure that a value names no class at any depth and holds no NaN."""
    if isinstance(value, float) and math.isnan(value):
        raise InputError(_line(place, places), f"'{place[-1]}' is NaN", "give a number", code="invalid-value")
    if isinstance(value, dict):
        if _CLASS in value:
            problem = f"'{place[-1]}' names a {_CLASS} ({value[_CLASS]})"
            raise InputError(
                _line(place, places), problem, "only method, network and recipe are classes", code="invalid-value"
            )
        for key, part in value.items():
            _check_plain(part, (*place, key), places)
    if isinstance(value, list):
        for index, part in enumerate(value):
            _check_plain(part, (*place, str(index)), places)


def _checked_word(word: str, choosing: str, value: str) -> str:
    """The choice of a class on the command line; one of the user's own by its dotted path."""
    known, base = _CHOOSING[choosing]()
    if value.lstrip().startswith("{"):
        content, _ = _parsed(value, word)
        path = content.get(_CLASS) if isinstance(content, dict) else None
        if not isinstance(path, str) or set(content) - {_CLASS, _ARGUMENTS}:
            raise InputError(
                word, f"is {value}", f"give NAME, or {{{_CLASS}: NAME, {_ARGUMENTS}: {{...}}}}", code="invalid-value"
            )
        _check_plain(content.get(_ARGUMENTS), (word,), {})
        return yaml_text({**content, _CLASS: _checked_word(word, choosing, path)})
    if value not in known and "." in value:
        _imported(value.rpartition(".")[0], word)
    return _path(class_named(value, known, base, where=word), value)


def _imported(module: str, word: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:  # code of the user, which may fail in any way
        problem = f"the module '{module}' cannot be imported ({type(error).__name__}: {error})"
        raise InputError(word, problem, "install it, or put its folder on PYTHONPATH", code="environment") from error


def _content_of_part(file: Path) -> Any:
    try:
        content, places = read_yaml(file)
        _check_plain(content, (file.name,), places)
    except InputError as error:
        raise ConfigError(error.where, error.problem, error.remedy, error.details, code=error.code) from error
    return content


def _parsed(text: str, word: str) -> tuple[Any, Mapping[Place, str]]:
    try:
        return parse_yaml(text, word)
    except (yaml.YAMLError, DamagedError, RecursionError) as error:
        raise InputError(
            word, f"cannot be read ({' '.join(str(error).split())})", "correct it", code="damaged"
        ) from error


def _pairs(given: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each option with the word behind it, and each other word by itself."""
    at = 0
    while at < len(given):
        single = not given[at].startswith("--") or at + 1 == len(given) or given[at + 1].startswith("--")
        yield given[at], None if single else given[at + 1]
        at += 1 if single else 2


def _path(cls: type[Any], written: str = "") -> str:
    """Where a class is found; as written, if that is a dotted path already."""
    return written if "." in written else f"{cls.__module__}.{cls.__qualname__}"


def _line(place: Place, places: Mapping[Place, str]) -> str:
    while place and place not in places:
        place = place[:-1]
    return places.get(place, "value")


def _methods() -> tuple[dict[str, type[Any]], type[Any]]:
    from segmend.methods import Method, all_methods

    return dict(all_methods()), Method


def _networks() -> tuple[dict[str, type[Any]], type[Any]]:
    from segmend.networks import Network, all_networks

    return dict(all_networks()), Network


def _recipes() -> tuple[dict[str, type[Any]], type[Any]]:
    from segmend.noise import Recipe, all_recipes

    return dict(all_recipes()), Recipe


_CHOOSING: Mapping[str, Callable[[], tuple[dict[str, type[Any]], type[Any]]]] = {
    "method": _methods,
    "network": _networks,
    "recipe": _recipes,
}
"""Arguments that choose a class: the classes there are by name, and what they are."""
