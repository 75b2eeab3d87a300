"""A data folder with regions, seen as if one region were its only class."""

from __future__ import annotations

from dataclasses import replace

from segmend.data.folder import DataFolder


def region_view(folder: DataFolder, region: str) -> DataFolder:
    """The data folder as if the region were its only class."""
    background, classes = next(iter(folder.labels)), folder.regions[region]
    values = {value: int(index in classes) for value, index in folder.values.items()}
    return replace(folder, labels={background: 0, region: 1}, regions={}, values=values)


def proposal_view(folder: DataFolder, region: str) -> DataFolder:
    """The data folder as the proposals of a region are read: masks, in which 1 is the region whatever its values."""
    return replace(region_view(folder, region), values={})
