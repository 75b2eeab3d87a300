from __future__ import annotations

from pathlib import Path

import pytest

from segmend import COMMANDS, function_name
from segmend.methods import all_methods

HOOK = "generated_pages"
SOURCE = Path(__file__).parents[3] / "src/segmend"


def test_stars_in_the_navigation_are_all_pages_of_a_folder(hook, tmp_path):
    for name in ("b.md", "A.md", "c.png"):
        (tmp_path / "methods").mkdir(exist_ok=True)
        (tmp_path / "methods" / name).touch()
    nav = [{"Home": "index.md"}, {"Methods": ["first.md", "methods/*"]}]
    expanded = [{"Home": "index.md"}, {"Methods": ["first.md", "methods/A.md", "methods/b.md"]}]
    assert hook._expanded(nav, tmp_path) == expanded


def test_every_command_is_on_both_pages(hook):
    for name, module in COMMANDS.items():
        assert f"## segmend {name}\n" in hook._command_line()
        assert (f"::: {module}.{function_name(name)}\n" in hook._commands()) == (name != "methods")


def test_every_method_is_in_the_table(hook):
    page = hook._method_table(SOURCE)
    for name, cls in all_methods().items():
        assert f"[{name}](../methods/{name}.md)" in page
        assert f"::: {cls.__module__}.{name}\n" in page
        assert cls.paper in page


@pytest.mark.parametrize("package", ["functional", "methods/components", "networks", "noise", "metrics"])
def test_modules_of_a_package_are_listed(hook, package):
    page = hook._modules(SOURCE, package, "T")
    assert page.startswith("# T\n")
    assert page.count("::: segmend.") > 3
    assert "__init__" not in page
