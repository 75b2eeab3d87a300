"""The page that tells what ``segmend demo`` did."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segmend.data.case import Quality, Split
from segmend.data.folder import DataFolder
from segmend.data.image import Grid, read_image, read_label
from segmend.metrics import draw_boxplot, read_table, summarise
from segmend.report.overlays import View, draw_overlays, most_different_slice, slice_of
from segmend.report.page import Page, Picture, Section, Table, write_page

COLOURS = {"truth": "#7ce577", "noisy label": "#ff6fb5"}
OF_METHODS = ("#4fa8e0", "#ffb000", "#c792ea")
METRICS = {"dice": "Dice", "jaccard": "Jaccard", "hd95": "HD95 (mm)", "asd": "ASD (mm)"}


@dataclass(frozen=True)
class DemoFolder:
    """What the demo leaves.

    Attributes:
        root: the folder.
        methods: what was compared, by the name to show; the last one is to win.
    """

    root: Path
    methods: Sequence[str]

    @property
    def data(self) -> Path:
        """Phantoms with true labels."""
        return self.root / "data"

    @property
    def noisy(self) -> Path:
        """The same with noisy labels."""
        return self.root / "noisy"

    @property
    def pictures(self) -> Path:
        """What the report shows, as files."""
        return self.root / "pictures"

    def run(self, method: str) -> Path:
        """The training."""
        return self.root / "runs" / slug(method)

    def predictions(self, method: str) -> Path:
        """Predicted labels of the test scans."""
        return self.root / "predictions" / slug(method)

    def scores(self, method: str) -> Path:
        """CSV file of their evaluation."""
        return self.root / "scores" / f"{slug(method)}.csv"
