from __future__ import annotations

import json

import numpy as np
import pytest
from refusals import raises

from segmend.audit.selection.candidates import Candidate, Shortfall
from segmend.audit.selection.features import CaseFeatures, feature_groups, read_features
from segmend.data.cache import digest_of
from segmend.data.folder import DataFolder
from segmend.data.image import read_image, read_label
from segmend.functional.diversity import gower_similarity


def candidate(name, labelled=True, volumes=None):
    return Candidate(name, (Shortfall("organ", 0.5, 0.9),), labelled, volumes=volumes or {})


@pytest.fixture
def folder(make_folder):
    table = "case,split,quality,domain\na,train,noisy,one\nb,train,noisy,\n"
    return DataFolder.open(make_folder(cases=("a", "b", "u"), unlabelled=("u",), table=table))


def test_of_files(folder):
    a, u, other = read_features(
        [candidate("a"), candidate("u", False, {"organ": 7.0}), candidate("elsewhere", False, {"organ": 8.0})],
        folder,
        {},
    )
    case = folder.cases[0]
    values, grid = read_label(case.label)
    assert a.domain == "one"
    name, classes = next(iter(folder.objects.items()))
    voxels = np.isin(folder.to_indices(values), classes).sum()
    assert a.volumes[name] == pytest.approx(voxels * np.prod(grid.spacing))
    image = read_image(case.images[0])[0][0]
    assert a.intensities == pytest.approx((image.mean(), image.std()), rel=1e-4)
    assert u.volumes == {"organ": 7.0}
    assert len(u.intensities) == 2
    assert other == CaseFeatures(volumes={"organ": 8.0})


@pytest.mark.parametrize("kind", ["labels", "images"])
def test_changed_files_are_refused(folder, kind):
    with raises("changed-data"):
        read_features([candidate("a")], folder, {kind: {"a": digest_of("something else")}})


def test_a_case_that_is_not_there(folder):
    with raises("mismatch", folder.root):
        read_features([candidate("z")], folder, {})


def test_partly_annotated_cases_have_the_volumes_of_what_is_annotated(make_folder, write_scan):
    root = make_folder(
        cases=("a", "b"),
        labels={"background": 0, "organ": 1, "vessel": 2},
        table="case,annotated\na,organ\nb,\n",
    )
    label = root / "labelsTr" / "a.nii.gz"
    values, grid = read_label(label)
    write_scan(label, np.where(values == 2, 0, values).astype(np.uint8), grid.affine)
    a, b = read_features([candidate("a"), candidate("b")], DataFolder.open(root), {})
    assert set(a.volumes) == {"organ"}
    assert set(b.volumes) == {"organ", "vessel"}


def test_regions_have_volumes_of_their_own(make_folder):
    root = make_folder(cases=("a",), labels={"background": 0, "organ": 1, "vessel": 2})
    description = json.loads((root / "dataset.json").read_text())
    description["labels"] = {"background": 0, "whole": [1, 2], "inner": 2}
    description["regions_class_order"] = [1, 2]
    (root / "dataset.json").write_text(json.dumps(description))
    (a,) = read_features([candidate("a")], DataFolder.open(root), {})
    assert a.volumes["whole"] > a.volumes["inner"] > 0


def test_groups_compare_what_is_known():
    first = Candidate("a", (Shortfall("organ", 0.5, 0.9, "missing"),), annotator="x")
    second = Candidate("b", (Shortfall("organ", 0.5, 0.9, "extra"),), annotator="x")
    third = Candidate("c", (Shortfall("organ", 0.5, 0.9, "extra"),))
    groups = feature_groups([first, second, third], [CaseFeatures(volumes={"organ": each}) for each in (1, 1, 9)])
    similarity = gower_similarity(groups)
    assert similarity(0).tolist() == [1, 0.5, 0]  # annotator does not distinguish; kind and volume do
    assert similarity(1).tolist() == [0.5, 1, 0.5]
