"""What the source must not hold, as files of other people pass through it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import segmend

SOURCE = Path(segmend.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
IMPORTING = {
    *("__init__.py", "cli/app.py", "cli/parameters.py", "cli/config_files.py"),
    *("commands/calls.py", "core/callable_package.py", "core/own_classes.py"),
}
"""Modules that import others by name: names of Segmend's own code, or what the user has typed."""

SPEAKING_OF_FLAGS = {"engine/launchers.py"}
"""What one writes into a script for srun."""

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load"}
PLAIN_LOADERS = {"yaml.BaseLoader", "yaml.SafeLoader", "yaml.CSafeLoader"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "runpy", "cloudpickle"}


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def keywords(call: ast.Call) -> dict[str | None, object]:
    return {each.arg: getattr(each.value, "value", None) for each in call.keywords}


def faults(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            yield from (f"imports {each}" for each in modules if each.partition(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.Call):
            yield from faults_of_call(node)


def faults_of_call(node: ast.Call) -> Iterator[str]:
    name, given = name_of(node.func), keywords(node)
    loaders = {name_of(each) for each in [*node.args[1:], *[each.value for each in node.keywords]]}
    if name in FORBIDDEN_CALLS:
        yield f"calls {name}"
    if name == "yaml.load" and (not loaders or not loaders <= PLAIN_LOADERS):
        yield "yaml.load with a loader of objects"
    if name == "torch.load" and given.get("weights_only") is not True:
        yield "torch.load without weights_only=True"
    if given.get("allow_pickle", False) is not False or given.get("shell", False) is not False:
        yield "allow_pickle or shell"
    if name == "yaml.dump" and "Dumper" not in given:
        yield "yaml.dump without a safe dumper"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_runs_what_a_file_holds(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


def test_modules_are_imported_by_name_in_few_places():
    found = {
        str(path.relative_to(SOURCE))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and name_of(node.func).endswith("import_module")
    }
    assert found <= IMPORTING


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_each_input_error_has_a_code(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    errors = [node for node in calls if name_of(node.func) in ("InputError", "ConfigError", "InUseError")]
    assert [node.lineno for node in errors if "code" not in keywords(node)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_error_of_the_library_speaks_of_flags(path):
    place = path.relative_to(SOURCE).as_posix()
    if place.startswith("cli/") or place in SPEAKING_OF_FLAGS:
        pytest.skip("of the command line")
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    errors = [node for node in calls if name_of(node.func) == "InputError"]
    texts = [
        each.value
        for node in errors
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    assert [text for text in texts if re.search(r"(?<!\S)--[a-z]", text)] == []


PRINTING = {
    *("cli/app.py", "bench/unit.py"),
    *(
        "bench/command.py",
        "commands/check.py",
        "commands/cache.py",
        "commands/cite.py",
        "commands/methods.py",
        "demo/command.py",
    ),
}
"""The command line, and commands whose result is text on stdout."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_remarks_are_logged_and_not_printed(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    printing = [node.lineno for node in calls if name_of(node.func) in ("print", "console.print", "console.rule")]
    assert not printing or path.relative_to(SOURCE).as_posix() in {*PRINTING, "engine/arguments.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, yaml.UnsafeLoader)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run('ls', shell=True)",
    ],
)
def test_the_search_finds_what_it_is_for(source):
    assert list(faults(source))
