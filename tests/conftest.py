"""What many tests share: reproducible random tests, and small data folders."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from segmend.core.logs import OnConsole
from segmend.core.progress import LOGGER

settings.register_profile(
    "segmend",
    derandomize=True,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # tmp_path may be shared between examples
)
settings.load_profile("segmend")

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ONE_MM = np.eye(4)
THICK_SLICES = np.diag([1.0, 1.0, 1.5, 1.0])


@pytest.fixture(autouse=True)
def _remarks_are_shown() -> Iterator[None]:
    """Shows on stderr what commands log, as the command line does; pytest goes on to treat warnings in its own way."""
    handler, level = OnConsole(), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    yield
    LOGGER.removeHandler(handler)
    LOGGER.setLevel(level)


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides GPUs, here and from processes started from here: only CPUs compute the same bits every time."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared scans go to a folder of the test."""
    monkeypatch.setenv("SEGMEND_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def write_scan() -> Callable[..., Path]:
    """Writes ``[*spatial]`` (x, y, z) to a file of any format, by the libraries and not by segmend."""
    return _write_scan


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a data folder of bright ellipsoids in noise, another for each case.

    Args:
        name: of the folder, below ``tmp_path``.
        cases: training cases.
        test_cases: cases in imagesTs, labelled too.
        unlabelled: those of both that get no label file.
        shape: sides of every scan; two of them make 2D images.
        ending: of all files.
        channels: channel names.
        labels: class names and values; every class but the background is one ellipsoid.
        table: text of cases.csv.
        raters: further raters, whose labels (in labelsTr_RATER) are off by one voxel, two, ...
        affine: ``[4, 4]`` of every scan.
        dtype: of the images.
    """

    def make(
        name: str = "data",
        *,
        cases: Sequence[str] = ("case_1", "case_2", "case_3"),
        test_cases: Sequence[str] = (),
        unlabelled: Sequence[str] = (),
        shape: Sequence[int] = (20, 18, 16),
        ending: str = ".nii.gz",
        channels: Sequence[str] = ("MR",),
        labels: Mapping[str, int] = {"background": 0, "organ": 1},
        table: str | None = None,
        raters: Sequence[str] = (),
        affine: NDArray[np.float64] = THICK_SLICES,
        dtype: type = np.uint8,
    ) -> Path:
        root = tmp_path / name
        description = {
            "channel_names": {str(number): channel for number, channel in enumerate(channels)},
            "labels": dict(labels),
            "file_ending": ending,
        }
        root.mkdir()
        (root / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
        if table is not None:
            (root / "cases.csv").write_text(table, encoding="utf-8")
        for number, case in enumerate([*cases, *test_cases]):
            part = "Tr" if number < len(cases) else "Ts"
            random = np.random.default_rng(number)
            label = _ellipsoids(shape, list(labels.values())[1:], random)
            for channel in range(len(channels)):
                image = 100.0 + 40 * channel + 60 * (label > 0) + random.normal(0, 10, shape)
                path = root / f"images{part}" / f"{case}_{channel:04d}{ending}"
                _write_scan(path, image.clip(0, 255).astype(dtype), affine)
            if case not in unlabelled:
                _write_scan(root / f"labels{part}" / f"{case}{ending}", label, affine)
                for shift, rater in enumerate(raters if part == "Tr" else (), start=1):
                    _write_scan(root / f"labelsTr_{rater}" / f"{case}{ending}", np.roll(label, shift, 0), affine)
        return root

    return make


@pytest.fixture
def contents() -> Callable[[Path], dict[str, tuple[bytes, int]]]:
    """Bytes and time of change of every file below a folder, to show that nothing was touched."""
    return lambda root: {
        str(path.relative_to(root)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
    }


def _ellipsoids(shape: Sequence[int], values: Sequence[int], random: np.random.Generator) -> NDArray[np.integer]:
    label = np.zeros(shape, dtype=np.min_scalar_type(max(values)))
    sides = np.array(shape)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    for value in values:
        centre, radii = sides * random.uniform(0.35, 0.65, len(shape)), sides * random.uniform(0.2, 0.3, len(shape))
        label[(((grid - centre) / radii) ** 2).sum(-1) < 1] = value
    return label


def _write_scan(path: Path, array: NDArray, affine: NDArray[np.float64] = ONE_MM) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nibabel.save(nibabel.Nifti1Image(array, affine), path)
        return path
    n, lps = array.ndim, LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :n], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:n, :n] / spacing).ravel().tolist())
    image.SetOrigin(lps[:n, 3].tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    return path
