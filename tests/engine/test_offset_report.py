from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from segmend.core.case import Case
from segmend.data.cache import PreparedCase
from segmend.engine.offset_report import draw_offsets, true_offset


def rows(truth: bool) -> pd.DataFrame:
    random = np.random.default_rng(0)
    true = random.normal(0, 3, 40)
    lines = [
        {
            "revision": revision,
            "case": f"c{case}",
            "annotator": "anna" if case % 2 else "",
            "label": 1 + case % 2,
            "offset_mm": value + 0.3 * revision,
            "error_mm": 0.5,
            "true_mm": value if truth else np.nan,
        }
        for revision in (1, 2)
        for case, value in enumerate(true)
    ]
    return pd.DataFrame(lines)


@pytest.mark.parametrize("truth", [True, False])
def test_draws_a_panel_for_each_class(tmp_path, truth):
    rows(truth).to_csv(tmp_path / "offsets.csv", index=False)
    draw_offsets(tmp_path / "offsets.csv", tmp_path / "offsets.png", "a run")
    picture = np.asarray(Image.open(tmp_path / "offsets.png").convert("RGB"))
    assert picture.shape[1] > 1.5 * picture.shape[0]
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_shows_the_last_revision_only(tmp_path):
    both, last = rows(True), rows(True)[lambda table: table["revision"] == 2]
    pictures = []
    for table in (both, last):
        table.to_csv(tmp_path / "offsets.csv", index=False)
        draw_offsets(tmp_path / "offsets.csv", tmp_path / "offsets.png", "a run")
        pictures.append((tmp_path / "offsets.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_the_true_offset_is_that_of_the_best_agreement():
    x, y = np.meshgrid(np.arange(40.0), np.arange(40.0), indexing="ij")
    distance = np.hypot(x - 20, y - 20)
    given, truth = ((distance < radius).astype(np.uint8) for radius in (12, 9))
    case = PreparedCase(Case("a", (), None), np.zeros((1, 40, 40), np.float32), given, None, "", (0.5, 0.5))
    assert true_offset(case, truth, 1) == pytest.approx(-1.5, abs=0.25)
    assert true_offset(case, given, 1) == pytest.approx(0, abs=0.25)
