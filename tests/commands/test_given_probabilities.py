"""Audits by probabilities that were made elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from segmend.commands.audit import audit
from segmend.data.image import read_image, read_label, write_map
from segmend.errors import InputError
from segmend.labels.audit.evidence import Evidence
from segmend.labels.morphology import dilate
from segmend.run import Run

CASES = tuple("abcdef")


@pytest.fixture
def data(make_folder, write_scan):
    """Six labelled cases, of which c is drawn too wide."""
    root = make_folder(cases=CASES)
    path = root / "labelsTr" / "c.nii.gz"
    values, grid = read_label(path)
    write_scan(path, dilate(values == 1, 7).astype(np.uint8), grid.affine)
    return root


def seen(data, case):
    """What a model that knows the ellipsoids sees, by class."""
    image, _ = read_image(data / "imagesTr" / f"{case}_0000.nii.gz")
    organ = 1 / (1 + np.exp(-(image[0] - 130) / 5))
    return {"background": 1 - organ, "organ": organ}


@pytest.fixture
def maps(data, tmp_path):
    """As 'segmend predict --probabilities true' leaves them."""
    for case in CASES:
        for name, of_class in seen(data, case).items():
            path = tmp_path / "predicted" / "probabilities" / f"{case}_{name}.nii.gz"
            write_map(path, of_class.astype(np.float32), like=data / "imagesTr" / f"{case}_0000.nii.gz")
    return tmp_path / "predicted"


@pytest.fixture
def packed(data, tmp_path):
    """As nnU-Net leaves them."""
    root = tmp_path / "validation"
    root.mkdir()
    for case in CASES:
        array = np.stack([of_class.T for of_class in seen(data, case).values()]).astype(np.float16)
        np.savez_compressed(root / f"{case}.npz", probabilities=array)
    return root


@pytest.mark.parametrize("form", ["maps", "packed"])
def test_finds_the_bad_label_without_any_training(form, data, tmp_path, request, contents):
    given = request.getfixturevalue(form)
    before = contents(given)
    table = audit(data=data, out=tmp_path / "audit", probabilities=given)
    assert (table.iloc[0]["case"], table.iloc[0]["kind"]) == ("c", "boundary_out")
    assert not table["seen"].any()
    assert contents(given) == before
    stored = Evidence(tmp_path / "audit" / "evidence" / "b.npz").probability(1)
    np.testing.assert_allclose(stored, seen(data, "b")["organ"], atol=0.01)


def test_both_forms_say_the_same(data, maps, packed, tmp_path):
    first = audit(data=data, out=tmp_path / "first", probabilities=maps / "probabilities")
    second = audit(data=data, out=tmp_path / "second", probabilities=packed)
    pd.testing.assert_frame_equal(first[["case", "rank", "kind"]], second[["case", "rank", "kind"]])
    np.testing.assert_allclose(first["score"], second["score"], atol=0.02)


def test_goes_on_and_notices_other_probabilities(data, packed, tmp_path):
    first = audit(data=data, out=tmp_path / "audit", probabilities=packed)
    (tmp_path / "audit" / "evidence" / "d.npz").unlink()
    pd.testing.assert_frame_equal(audit(data=data, out=tmp_path / "audit", probabilities=packed), first)
    assert set(json.loads((tmp_path / "audit" / "audit.json").read_text())["evidence"]["probabilities"]) == set(CASES)
    np.savez(packed / "a.npz", probabilities=np.full_like(np.load(packed / "a.npz")["probabilities"], 0.5))
    with pytest.raises(InputError, match="holds an audit of other evidence"):
        audit(data=data, out=tmp_path / "audit", probabilities=packed)


def test_two_dimensional_ones_have_an_axis_more(make_folder, tmp_path):
    data = make_folder("flat", cases=CASES, shape=(20, 24), ending=".png")
    shape = read_label(data / "labelsTr" / "a.png")[0].shape
    (tmp_path / "validation").mkdir()
    for case in CASES:
        label = read_label(data / "labelsTr" / f"{case}.png")[0] > 0
        array = np.stack([~label, label])[..., None].astype(np.float32).transpose(0, 3, 2, 1)
        np.savez(tmp_path / "validation" / f"{case}.npz", probabilities=0.9 * array + 0.05)
    table = audit(data=data, out=tmp_path / "audit", probabilities=tmp_path / "validation")
    assert (table["kind"] == "ok").all()
    assert Evidence(tmp_path / "audit" / "evidence" / "a.npz").probability(0).shape == shape


def test_maps_of_pictures_lie_over_them(make_folder, tmp_path):
    data = make_folder("flat", cases=CASES, shape=(20, 24), ending=".png")
    for case in CASES:
        path = data / "labelsTr" / f"{case}.png"
        label = (read_label(path)[0] > 0).astype(np.float32)
        for name, of_class in (("background", 1 - label), ("organ", label)):
            write_map(tmp_path / "maps" / f"{case}_{name}.nii.gz", 0.9 * of_class + 0.05, like=path)
    assert len(audit(data=data, out=tmp_path / "audit", probabilities=tmp_path / "maps")) == len(CASES)


class TestRefusals:
    def refused(self, data, given, tmp_path, message, **more):
        with pytest.raises(InputError, match=message):
            audit(data=data, out=tmp_path / "audit", probabilities=given, **more)
        return tmp_path / "audit"

    def test_nothing_there(self, data, tmp_path):
        assert not self.refused(data, tmp_path / "nowhere", tmp_path, "nowhere: is not a folder").exists()

    def test_some_cases_are_missing(self, data, packed, tmp_path):
        for case in "be":
            (packed / f"{case}.npz").unlink()
        assert not self.refused(data, packed, tmp_path, r"no probabilities of 2 of 6 cases, 'b'.*nnU-Net").exists()

    def test_another_shape_or_number_of_classes(self, data, packed, tmp_path):
        array = np.load(packed / "d.npz")["probabilities"]
        for wrong in (array[:, 1:], array[:1], array.transpose(0, 3, 2, 1)[:, :-1]):
            np.savez(packed / "d.npz", probabilities=wrong)
            assert not self.refused(data, packed, tmp_path, r"d\.npz: has the shape .* lies over the label").exists()

    def test_maps_of_another_shape(self, data, maps, tmp_path, write_scan):
        path = maps / "probabilities" / "c_organ.nii.gz"
        write_scan(path, np.zeros((4, 5, 6), np.float32), np.eye(4))
        assert not self.refused(data, maps, tmp_path, r"c_organ.*has the shape 4 x 5 x 6").exists()

    def test_maps_in_another_place(self, data, maps, tmp_path, write_scan):
        path = maps / "probabilities" / "c_organ.nii.gz"
        array, grid = read_image(path)
        affine = grid.affine.copy()
        affine[0, 3] += 7
        write_scan(path, array[0], affine)
        assert not self.refused(data, maps, tmp_path, r"c_organ.*7\.0 mm off the label").exists()

    @pytest.mark.parametrize(("factor", "message"), [(8.0, "values from"), (np.nan, "values from nan"), (0.5, "sum")])
    def test_no_probabilities(self, data, packed, tmp_path, factor, message):
        array = np.load(packed / "e.npz")["probabilities"]
        np.savez(packed / "e.npz", probabilities=array * factor)
        out = self.refused(data, packed, tmp_path, rf"e\.npz: holds no probabilities.*{message}")
        assert not (out / "evidence" / "e.npz").exists()
        assert not (out / "audit.csv").exists()

    @pytest.mark.parametrize("content", [b"", b"PK nonsense"])
    def test_a_damaged_file(self, data, packed, tmp_path, content):
        (packed / "a.npz").write_bytes(content)
        self.refused(data, packed, tmp_path, r"a\.npz: is damaged")

    def test_pickles_are_not_opened(self, data, packed, tmp_path):
        np.savez(packed / "a.npz", probabilities=np.array([{"a": 1}], dtype=object))
        self.refused(data, packed, tmp_path, r"a\.npz: has the shape 1")

    def test_a_run_as_well(self, data, packed, tmp_path):
        with pytest.raises(InputError, match="both given"):
            audit(data=data, out=tmp_path / "audit", probabilities=packed, run=Run(tmp_path / "run").path)
