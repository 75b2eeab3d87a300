from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from refusals import raises

from segmend.core.case import Quality
from segmend.core.grid import Grid
from segmend.data.cache import prepare
from segmend.data.folder import DataFolder
from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.data.soft_labels import read_soft_label, with_soft_labels
from segmend.data.state import DataState

SHAPE = (20, 18, 16)
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])


@pytest.fixture
def data(make_folder, write_scan):
    """Two labelled cases with maps, one without a label, and a test case."""
    root = make_folder(cases=("a", "b", "u"), unlabelled=("u",), test_cases=("t",))
    for number, case in enumerate("ab"):
        organ = np.random.default_rng(number).uniform(0, 1, SHAPE).astype(np.float32)
        organ[0] = 0
        for name, of_class in (("organ", organ), ("background", 1 - organ)):
            of_class[:, 0] = 0  # not annotated
            write_scan(root / "soft" / f"{case}_{name}.nii.gz", of_class, AFFINE)
    return root


def test_labelled_training_cases_have_them(data):
    cases = {case.name: case for case in with_soft_labels(DataFolder.open(data)).cases}
    assert [file.name for file in cases["a"].soft] == ["a_background.nii.gz", "a_organ.nii.gz"]
    assert cases["u"].soft == cases["t"].soft == ()
    maps = read_soft_label(cases["a"].soft)
    assert maps.shape == (2, *SHAPE)
    assert not maps[:, :, 0].any()
    np.testing.assert_allclose(maps[:, :, 1:].sum(0), 1, atol=1e-6)


def test_prepared_on_another_grid(data, tmp_path):
    folder = with_soft_labels(DataFolder.open(data))
    preprocessing = Preprocessing((2.0, 2.0, 2.0), (Normalisation(),))
    first, _ = prepare(folder, folder.cases[:2], preprocessing, tmp_path / "cache")
    assert first.soft.shape == (2, *first.image.shape[1:])
    total = np.asarray(first.soft, dtype=np.float32).sum(0)
    assert set(np.unique(np.round(total, 2))) <= {0.0, 1.0}
    assert (total > 0.5).any()
    (plain,) = prepare(folder, DataFolder.open(data).cases[:1], preprocessing, tmp_path / "cache")
    assert plain.soft is None
    assert plain.digest != first.digest


def test_interpolation_by_hand(data):
    """Halving a side averages pairs of voxels; a pair of which one is unknown counts as the other one."""
    preprocessing = Preprocessing((None,) * 3, (Normalisation(),))
    organ = np.zeros((2, 4, 1, 1), np.float32)
    organ[:, :, 0, 0] = [[0.2, 0.8, 0.0, 0.6], [0.8, 0.2, 0.0, 0.4]]
    grid = Grid((4, 1, 1), np.eye(4))
    placement = preprocessing.place(np.ones((1, 4, 1, 1), np.float32), grid)
    halved = Preprocessing((2.0, 1.0, 1.0), (Normalisation(),)).maps(organ, grid, placement)
    np.testing.assert_allclose(halved[:, :, 0, 0], [[0.5, 0.6], [0.5, 0.4]], atol=1e-6)


def test_changes_are_seen(data, write_scan):
    folder = with_soft_labels(DataFolder.open(data))
    before = DataState.of(folder, folder.cases)
    write_scan(data / "soft" / "a_organ.nii.gz", np.zeros(SHAPE, np.float32), AFFINE)
    assert DataState.of(folder, folder.cases).changes_since(before) == "the soft label of case a has changed"
    assert "soft" not in before.cases["u"]
    assert folder.cases[0].quality is Quality.NOISY


class TestBadInput:
    def test_regions_and_classes_that_are_not_annotated(self, data):
        folder = DataFolder.open(data)
        partial = replace(folder.cases[0], annotated=())
        with raises("unsupported", "labels", match="not all classes are annotated in 1 cases"):
            with_soft_labels(replace(folder, cases=(partial, *folder.cases[1:])))
        with raises("unsupported", "labels", match="has the regions whole"):
            with_soft_labels(replace(folder, regions={"whole": (1,)}))

    def test_missing(self, data, make_folder):
        (data / "soft" / "b_organ.nii.gz").unlink()
        with raises("missing-file", "b_organ.nii.gz", match="needs a map of each class"):
            with_soft_labels(DataFolder.open(data))
        with raises("missing-file", "soft"):
            with_soft_labels(DataFolder.open(make_folder("none")))

    def test_another_grid(self, data, write_scan):
        write_scan(data / "soft" / "a_organ.nii.gz", np.zeros(SHAPE, np.float32), np.eye(4))
        with raises("mismatch", "a_organ.nii.gz", match="does not lie over its scan"):
            with_soft_labels(DataFolder.open(data))

    @pytest.mark.parametrize(
        ("value", "said"),
        [(np.nan, "no probabilities"), (1.5, "no probabilities"), (-0.1, "no probabilities"), (0.9, "sum to 1.8")],
    )
    def test_values(self, data, write_scan, value, said):
        for name in ("background", "organ"):
            write_scan(data / "soft" / f"a_{name}.nii.gz", np.full(SHAPE, value, np.float32), AFFINE)
        with raises("invalid-value", "a_background.nii.gz", match=said):
            read_soft_label(with_soft_labels(DataFolder.open(data)).cases[0].soft)
