"""Packages that are called like the command of their name: ``segmend.audit(data=...)``."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package that is a command as well."""

    def __call__(self, **arguments: Any) -> Any:
        """Run the command of this name."""
        return importlib.import_module("segmend").command(self.__name__.rpartition(".")[2])(**arguments)


def make_callable(package: str) -> None:
    """Make a package callable.

    Args:
        package: its full name, that of the command at the end.
    """
    sys.modules[package].__class__ = CallablePackage
