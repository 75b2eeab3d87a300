from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

SMALL = {
    "title": "Small",
    "labels": {"some noisy": {"recipe": "CubeMorphology", "expert": 2, "published": ["4HQ+76LQ"]}, "as given": {}},
    "train": {"network": {"name": "UNet", "width": 2, "stages": 2}, "iterations": 2, "patch": [16, 16, 16]},
    "metrics": ["dice", "hd95"],
    "baseline": "Mixed",
    "published": {"paper": "PLIL", "table": "T1", "metrics": {"dice": "Dice % up"}},
    "rows": {
        "Mixed": {"method": "Supervised", "batch": {"any_labelled": 2}, "published": "HL-Sup"},
        "PNL": {"labels": ["some noisy"]},
    },
}


@pytest.fixture
def small() -> dict:
    """Content of a plan; tests change what they are about."""
    return copy.deepcopy(SMALL)


@pytest.fixture
def write_plan(tmp_path) -> Callable[..., Path]:
    def write(content: object, name: str = "plan.yaml") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    return write
