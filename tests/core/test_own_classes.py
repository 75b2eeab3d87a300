from __future__ import annotations

import importlib
import sys

import pytest

from segmend.core.errors import InputError
from segmend.core.own_classes import import_declared

LEAVES_A_MARK = "from pathlib import Path\nPath(r'{mark}').touch()\n"


@pytest.fixture
def declare(tmp_path, monkeypatch):
    """Puts a module where Python finds it; gives the file that it leaves when it is run."""
    folder = tmp_path / "installed"
    (folder / "some_package").mkdir(parents=True)
    (folder / "some_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)

    def declare(source: str, name: str = "of_the_user"):
        mark = tmp_path / "mark"
        (folder / f"{name}.py").write_text(LEAVES_A_MARK.format(mark=mark) + source)
        importlib.invalidate_caches()  # which know folders by their time of change, in seconds on some systems
        return mark

    def forget():
        for name in [name for name in sys.modules if name.startswith(("of_the_user", "some_package"))]:
            del sys.modules[name]

    forget()  # what other tests have imported under these names
    yield declare
    forget()


@pytest.mark.parametrize(
    "source",
    [
        "from segmend.networks import Network\nclass Mine(Network): ...",
        "from segmend.methods import Supervised as Base\nclass Mine(Base): ...",
        "import segmend.methods\nclass Mine(segmend.methods.PLIL): ...",
        "import segmend.networks as nets\nclass Mine(nets.UNet): ...",
        "from segmend.networks import Network\nclass First(Network): ...\nclass Mine(First): ...",
    ],
)
def test_a_class_built_on_one_of_segmend_is_imported(declare, source):
    mark = declare(source)
    import_declared("of_the_user.Mine")
    assert mark.exists()


def test_modules_in_packages_too(declare):
    mark = declare("from segmend.networks import Network\nclass Mine(Network): ...", "some_package/inside")
    import_declared("some_package.inside.Mine")
    assert mark.exists()
    assert "some_package.inside" in sys.modules


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("class Mine: ...", "of_the_user.Mine"),
        ("class Network: ...\nclass Mine(Network): ...", "of_the_user.Mine"),
        ("from segmend.networks import Network\nclass Mine(Network): ...", "of_the_user.Other"),
        ("from segmend.networks import Network\ndef Mine(): ...", "of_the_user.Mine"),
        ("from segmend.networks import Network\nclass Mine(Network", "of_the_user.Mine"),
        ("from segmend.networks import Network\nclass Mine(Network): ...", "of_the_user"),
        ("from segmend.networks import Network\nclass Mine(Network): ...", ".of_the_user.Mine"),
        ("from segmend.networks import Network\nclass Mine(Network): ...", "of_the_user..Mine"),
        ("from .segmend import Network\nclass Mine(Network): ...", "of_the_user.Mine"),
    ],
)
def test_nothing_else_is_run(declare, source, path):
    mark = declare(source)
    import_declared(path)
    assert not mark.exists()
    assert "of_the_user" not in sys.modules


def test_what_lies_in_the_current_folder_is_not_run(declare, tmp_path, monkeypatch):
    mark = declare("from segmend.networks import Network\nclass Mine(Network): ...")
    monkeypatch.chdir(tmp_path / "installed")
    import_declared("of_the_user.Mine")
    assert not mark.exists()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    import_declared("of_the_user.Mine")
    assert mark.exists()


def test_a_module_that_fails_is_named(declare):
    declare("from segmend.networks import Network\nclass Mine(Network): ...\nraise ZeroDivisionError")
    with pytest.raises(InputError, match="the module 'of_the_user' cannot be imported"):
        import_declared("of_the_user.Mine")
