from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

HOOKS = Path(__file__).parents[2] / "docs/hooks"


@pytest.fixture
def hook(request):
    """The module of docs/hooks that the test file names."""
    name = request.module.HOOK
    spec = importlib.util.spec_from_file_location(f"hooks_{name}", HOOKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
