"""Recorded results of golden runs: computing, keeping and comparing them."""

from __future__ import annotations

import json
import platform
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import golden_adapter as adapter
import torch
from golden_runs import all_golden
from golden_stage import Golden, Result, Stage

RECORDS = Path(__file__).parent / "records"
"""A file for each class of processors."""

TOLERANCE = 0.2
"""By which share sizes may differ between processors that round differently: most do by a hundred-thousandth, but a few
methods choose between voxels that are nearly the same."""

_LIBRARIES = ("torch", "numpy", "scipy", "monai", "scikit-image", "scikit-learn")

REMEDY = (
    "If results were meant to change, raise protocol_version of the class whose they are, or ENGINE_VERSION, "
    "RESAMPLING_VERSION, AUDIT_VERSION or PLANNER_VERSION in segmend/bench/protocol.py, and run 'make golden'. If not, "
    "find out what changed them."
)


def processor_class() -> dict[str, str]:
    """All that rounding depends on: results are compared bit by bit where it is the same."""
    found = {
        "machine": platform.machine(),
        "maker": str(torch.cpu.get_capabilities().get("cpu_name", "")).partition(" ")[0],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": "native" if has_bfloat16() else "emulated",
    }
    return found | {name: version(name) for name in _LIBRARIES}


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def runnable(golden: Golden) -> bool:
    """Whether this processor can run it as it is meant."""
    return has_bfloat16() or not golden.name.endswith("/bf16")


@contextmanager
def staged() -> Iterator[Stage]:
    """A stage for golden runs, by one thread of the processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with (
            mock.patch("torch.cuda.is_available", return_value=False),
            mock.patch("torch.cuda.device_count", return_value=0),
            tempfile.TemporaryDirectory() as root,
        ):
            yield Stage(Path(root))
    finally:
        torch.set_num_threads(threads)


def computed(names: Iterable[str]) -> dict[str, Result]:
    """Results of golden runs; in bfloat16 only where the processor has it."""
    runs = all_golden()
    with staged() as stage:
        return {name: stage.run(runs[name]) for name in names if runnable(runs[name])}


def described(golden: Golden, result: Result) -> dict[str, Any]:
    """What a record holds of a golden run."""
    return {"versions": adapter.versions(golden.of), "result": result}


def read_records() -> list[dict[str, Any]]:
    """All records; that of this class of processors comes first, if there is one."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDS.glob("*.json"))]
    return sorted(records, key=lambda record: record["processor"] != processor_class())


def is_of_this_processor(record: Mapping[str, Any]) -> bool:
    """Whether a record is to be matched bit by bit."""
    return bool(record["processor"] == processor_class())


def record_path() -> Path:
    """Where the record of this class of processors lies."""
    found = processor_class()
    words = [found["machine"], found["maker"], found["capability"], found["bfloat16"], f"torch-{found['torch']}"]
    for path in sorted(RECORDS.glob("*.json")):
        if json.loads(path.read_text(encoding="utf-8"))["processor"] == found:
            return path
    return _free(RECORDS / (re.sub(r"[^a-z0-9.]+", "-", " ".join(words).lower()).strip("-") + ".json"))


def _free(path: Path) -> Path:
    number = 2
    free = path
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}.json"), number + 1
    return free


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


def complaint(name: str, new: Mapping[str, Any], old: Mapping[str, Any] | None, *, bits: bool) -> str:
    """What is wrong with a golden run, or "".

    Args:
        name: of the run.
        new: what a record would hold of it now.
        old: what the record holds.
        bits: whether results must be the same bit by bit, and not just of about the same size.
    """
    if old is None:
        return f"{name} is not in the record. Run 'make golden'."
    changed = differing(new["result"], old["result"]) if bits else []
    if not bits and roughly_differing(new["result"], old["result"]):
        changed = ["size"]
    if new["versions"] != old["versions"]:
        return f"{name} is recorded for {old['versions']}, but the code has {new['versions']}. Run 'make golden'."
    if changed:
        return f"{name}: {', '.join(changed)} changed, but the versions are still {new['versions']}. {REMEDY}"
    return ""


def unannounced(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """Golden runs whose result changed while no version did, of those in both records."""
    return [
        name
        for name in new.keys() & old.keys()
        if differing(new[name]["result"], old[name]["result"]) and new[name]["versions"] == old[name]["versions"]
    ]


def write(path: Path, content: object) -> None:
    """Writes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
