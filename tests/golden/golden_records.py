"""Recorded results of golden runs: computing, comparing and keeping them."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from golden_runs import Golden, Result, Stage, all_golden

RECORDS = Path(__file__).parent / "records"

TOLERANCE = 0.02
"""By which share sizes may differ between processors that round differently."""

_LIBRARIES = ("torch", "numpy", "scipy", "monai", "scikit-image", "scikit-learn")


def processor_class() -> dict[str, str]:
    """All that rounding depends on: results are compared bit by bit where it is the same."""
    capabilities = torch.cpu.get_capabilities()
    found = {
        "machine": platform.machine(),
        "maker": str(capabilities.get("cpu_name", "")).partition(" ")[0],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": "native" if has_bfloat16() else "emulated",
    }
    return found | {name: version(name) for name in _LIBRARIES}


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def computed(names: Iterable[str]) -> dict[str, Result]:
    """Results of golden runs, computed by one thread; in bfloat16 only where the processor has it."""
    torch.set_num_threads(1)
    runs = all_golden()
    with tempfile.TemporaryDirectory() as root:
        stage = Stage(Path(root))
        return {name: stage.run(runs[name]) for name in names if runnable(runs[name])}


def runnable(golden: Golden) -> bool:
    """Whether this processor can run it as it is meant."""
    return has_bfloat16() or not golden.name.endswith("/bf16")


def differing(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """Parts of a result that differ in any bit; what is only there to be compared roughly does not count."""
    return sorted(part for part in new.keys() | old.keys() if part != "size" and new.get(part) != old.get(part))


def roughly_differing(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether the sizes of two results are further apart than rounding explains."""
    mine, theirs = new.get("size", []), old.get("size", [])
    scale = max(map(abs, theirs), default=0.0)
    return len(mine) != len(theirs) or any(
        abs(one - other) > TOLERANCE * max(abs(other), 0.01 * scale) for one, other in zip(mine, theirs, strict=True)
    )


def write(path: Path, content: object) -> None:
    """Writes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
