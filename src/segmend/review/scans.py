"""The scans of an audit with their labels, proposals and issues, read when they are looked at."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from segmend.audit.folder import AuditFolder
from segmend.audit.region_views import proposal_view, region_view
from segmend.core.case import Case
from segmend.core.errors import InputError, did_you_mean
from segmend.core.grid import Grid, slice_axis
from segmend.core.masks import IGNORE, bounding_box
from segmend.data.cache_entries import digest_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid
from segmend.data.raters import to_known_indices
from segmend.review.findings import Findings
from segmend.review.slices import grey, png, view_across, views_of, window_of
from segmend.review.starts import first_slices
from segmend.review.volumes import Volume, VolumeCache, file_key, open_volume, read_mask

MASKS = ("label", "proposal", "issues")
"""What lies over a scan."""

KINDS = ("scan", *MASKS)
"""What a case holds."""

_NEAR = 32
"""Voxels of the scan around all objects that decide about the window."""
_EVERY = 2
"""Of how many voxels along each axis one is enough to find them."""
_LARGEST_SHOWN = 255
_SMALL_BYTES = 2**10
"""What the cache counts for some numbers."""


class ReviewedScans:
    """Reads the cases of an audit. Safe for any number of threads.

    Args:
        place: the audit.
        folder: the data folder that was audited.
        findings: of the audit.
        cache: keeps what was read.
    """

    def __init__(
        self, place: AuditFolder, folder: DataFolder, findings: Findings, cache: VolumeCache | None = None
    ) -> None:
        self.place, self.folder, self.findings = place, folder, findings
        self.by_region = bool(folder.regions)
        self.cache = cache or VolumeCache()
        self._cases = {case.name: case for case in folder.cases if case.label is not None}
        self._digests: dict[str, str] = place.read_settings().get("labels", {})

    def case(self, name: str) -> Case:
        """A case of the audit.

        Raises:
            InputError: it was not audited.
        """
        return self._cases[self.findings.named(name)]

    def grid(self, case: Case) -> Grid:
        """Where the voxels of a case lie: that of its label, over which its scan must lie.

        Raises:
            InputError: a file is missing, does not lie over the other, or the label is not the one that was audited.
        """
        label = label_of(case)
        key = ("grid", file_key(label), file_key(case.images[0]))
        grid: Grid = self.cache.get(key, lambda: self._checked_grid(case, label), lambda _: _SMALL_BYTES)
        return grid

    def _checked_grid(self, case: Case, label: Path) -> Grid:
        grid = read_grid(label)
        for image in case.images:
            file_key(image)
            if not read_grid(image).matches(grid):
                problem = f"does not lie over the label {label.name}"
                raise InputError(image, problem, "restore the scan that was audited", code="mismatch")
        if self._digests.get(case.name, "") not in ("", digest_of(label)):
            remedy = "restore it, or audit the folder again; all other cases can be reviewed"
            raise InputError(label, "is not the label that was audited", remedy, code="changed-data")
        return grid

    def volume(self, case: Case, channel: int) -> Volume:
        """A channel of the scan.

        Raises:
            InputError: there is no such channel, or its file cannot be read.
        """
        channels = len(self.folder.channel_names)
        if not 0 <= channel < channels:
            raise InputError("channel", f"is {channel}", f"give 0 to {channels - 1}", code="invalid-value")
        several = len(case.images) == 1  # one file, such as a picture in colours, may hold all channels
        file, within = (case.images[0], channel) if several else (case.images[channel], 0)
        volume: Volume = self.cache.get(
            ("scan", file_key(file), within), lambda: open_volume(file, within), lambda found: int(found.nbytes)
        )
        return volume

    def mask(self, case: Case, kind: str, label: str) -> NDArray[np.uint8]:
        """Class indices ``[*spatial]`` of the label or the proposal, or numbers of the issues.

        Args:
            case: the case.
            kind: label, proposal or issues.
            label: whose mask, in data with regions: there, it is the number of the region inside and 0 elsewhere.

        Raises:
            InputError: a file is missing or does not fit the scan.
        """
        region = self._region(label)
        place = self.place.of_region(region)
        ending = self.folder.file_ending
        path = {
            "label": label_of(case),
            "proposal": place.proposal(case.name, ending),
            "issues": place.issues(case.name, ending),
        }[kind]
        mask: NDArray[np.uint8] = self.cache.get(
            (kind, region, file_key(path)), lambda: self._read(case, kind, region, path), lambda found: found.nbytes
        )
        return mask

    def _read(self, case: Case, kind: str, region: str, path: Path) -> NDArray[np.uint8]:
        values = read_mask(path, self.grid(case))
        if kind == "issues":
            shown: NDArray[np.uint8] = np.minimum(values, _LARGEST_SHOWN).astype(np.uint8)
            return shown
        view = region_view if kind == "label" else proposal_view
        folder = view(self.folder, region) if region else self.folder
        indices = to_known_indices(path, folder, values)
        if region:
            indices[indices == 1] = self.index_of(region)
        return indices

    def _region(self, label: str) -> str:
        if not self.by_region:
            return ""
        if label not in self.folder.objects:
            remedy = did_you_mean(label, self.folder.objects)
            raise InputError("label", f"there is no region '{label}'", remedy, code="unknown-name")
        return label

    def index_of(self, label: str) -> int:
        """The number by which masks hold a class or region."""
        if self.by_region:
            return list(self.folder.objects).index(label) + 1
        return list(self.folder.labels).index(label)

    def slice_of_scan(
        self, case: Case, axis: int, index: int, channel: int, window: tuple[float, float] | None
    ) -> bytes:
        """A slice of the scan as a grey PNG.

        Args:
            case: the case.
            axis: of the voxels, across the slice.
            index: of the slice.
            channel: of the scan.
            window: intensities to show as black and white; chosen if None.

        Raises:
            InputError: there is no such slice or channel, or a file cannot be read.
        """
        view = view_across(self.grid(case), axis)
        view.check(index)
        volume = self.volume(case, channel)
        low, high = window or self.window(case, channel)
        return png(view.turned(grey(volume.part(view.where(index)), low, high)))

    def slice_of_masks(self, case: Case, axis: int, index: int, label: str) -> bytes:
        """A slice of label, proposal and issues as red, green and blue of a PNG."""
        view = view_across(self.grid(case), axis)
        view.check(index)
        masks = [self.mask(case, kind, label)[view.where(index)] for kind in MASKS]
        return png(np.stack([view.turned(mask) for mask in masks], axis=-1))

    def window(self, case: Case, channel: int) -> tuple[float, float]:
        """Intensities to show as black and white to begin with: those near the objects."""
        volume = self.volume(case, channel)
        key = ("window", *map(file_key, case.images), channel)
        window: tuple[float, float] = self.cache.get(
            key, lambda: window_of(volume.part, self._near(case, volume)), lambda _: _SMALL_BYTES
        )
        return window

    def _near(self, case: Case, volume: Volume) -> tuple[slice, ...]:
        label = self.mask(case, "label", self.findings.labels_of[case.name][0])
        some = label[(slice(None, None, _EVERY),) * label.ndim]
        objects = (some > 0) & (some != IGNORE)
        if not objects.any():
            return tuple(slice(0, side) for side in volume.shape)
        box = bounding_box(objects, _NEAR // _EVERY)
        return tuple(
            slice(_EVERY * side.start, min(_EVERY * side.stop, length))
            for side, length in zip(box, volume.shape, strict=True)
        )

    def starts(self, case: Case) -> dict[str, dict[str, int]]:
        """For each label the slice to show first: axis and index."""
        grid, labels = self.grid(case), self.findings.labels_of[case.name]
        axis = slice_axis(grid)
        if axis is None:
            return {label: {"axis": 2, "index": 0} for label in labels}
        found: dict[str, dict[str, int]] = {}
        for group in [[label] for label in labels] if self.by_region else [labels]:
            key = ("starts", file_key(label_of(case)), tuple(group))
            slices: dict[str, int] = self.cache.get(
                key, partial(self._first_slices, case, group, axis), lambda _: _SMALL_BYTES
            )
            found |= {label: {"axis": axis, "index": index} for label, index in slices.items()}
        return found

    def _first_slices(self, case: Case, labels: Sequence[str], axis: int) -> dict[str, int]:
        given, proposed = (self.mask(case, kind, labels[0]) for kind in ("label", "proposal"))
        return first_slices(given, proposed, {label: self.index_of(label) for label in labels}, axis)

    def described(self, case: Case) -> dict[str, Any]:
        """What the page needs to know of a case, without decisions."""
        grid = self.grid(case)
        names = self.folder.channel_names
        self._read_ahead(case)
        windows = [self.window(case, channel) for channel in range(len(names))]
        return {
            "case": case.name,
            "shape": grid.shape,
            "spacing": grid.spacing,
            "affine": grid.affine.tolist(),
            "axes": [asdict(view) for view in views_of(grid)],
            "slice_axis": slice_axis(grid),
            "channels": names,
            "window": [{"low": low, "high": high} for low, high in windows],
            "labels": self.findings.labels_of[case.name],
            "regions": [region.as_json(grid.affine) for region in self.findings.regions.get(case.name, ())],
            "checks": self.findings.checks.get(case.name, ()),
            "start": self.starts(case),
        }

    def _read_ahead(self, case: Case) -> None:
        """Read what the first slice needs, at once: decompression leaves other threads alone."""
        first = self.findings.labels_of[case.name][0]
        wanted: list[Callable[[], object]] = [
            partial(self.volume, case, channel) for channel in range(len(self.folder.channel_names))
        ]
        wanted += [partial(self.mask, case, kind, first) for kind in MASKS]
        with ThreadPoolExecutor() as pool:
            for reading in [pool.submit(read) for read in wanted]:
                reading.result()

    def nifti(self, case: Case, kind: str, label: str, channel: int) -> bytes:
        """A volume as a compressed NIfTI file, whatever the format of the file that it comes from.

        Args:
            case: the case.
            kind: scan, label, proposal or issues.
            label: whose mask, in data with regions.
            channel: of the scan.
        """
        grid = self.grid(case)
        if kind == "scan":
            array = self.volume(case, channel).part((slice(None),) * grid.dimensions)
            array = array.astype(np.float32) if array.dtype.kind not in "iu" or array.itemsize > 2 else array
        else:
            array = self.mask(case, kind, label)
        content = nibabel.Nifti1Image(array, grid.affine).to_bytes()
        # Masks are nearly empty; to compress intensities takes longer than to hand them over.
        return gzip.compress(content, compresslevel=0 if kind == "scan" else 1, mtime=0)


def label_of(case: Case) -> Path:
    """The label file of an audited case, which has one."""
    assert case.label is not None
    return case.label
