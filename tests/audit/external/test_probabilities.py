"""Audits by probabilities that were made elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from refusals import raises

from segmend.audit.evidence import Evidence, write_evidence
from segmend.commands.audit import audit
from segmend.commands.correct import correct
from segmend.core.errors import InputError
from segmend.data.image import read_image, read_label, write_map
from segmend.engine.run import Run
from segmend.functional.morphology import dilate

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
    assert (table.iloc[0]["case"], table.iloc[0]["kind"]) == ("c", "over_segmented")
    assert not table["in_training_set"].any()
    assert contents(given) == before
    stored = Evidence(tmp_path / "audit" / "evidence" / "b.npz").probability(1)
    np.testing.assert_allclose(stored, seen(data, "b")["organ"], atol=0.01)


def test_both_forms_say_the_same(data, maps, packed, tmp_path):
    first = audit(data=data, out=tmp_path / "first", probabilities=maps / "probabilities")
    second = audit(data=data, out=tmp_path / "second", probabilities=packed)
    pd.testing.assert_frame_equal(first[["case", "rank", "kind"]], second[["case", "rank", "kind"]])
    np.testing.assert_allclose(first["score"], second["score"], atol=0.02)


@pytest.mark.parametrize("form", ["maps", "packed"])
def test_the_number_of_cores_does_not_matter(form, data, tmp_path, request):
    given = request.getfixturevalue(form)
    written = []
    for cores in (1, 3):
        out = tmp_path / f"audit_{cores}"
        audit(data=data, out=out, probabilities=given, cores=cores)
        names = ("audit.csv", "regions.csv", "checks.csv", *(f"evidence/{case}.npz" for case in CASES))
        written.append({name: (out / name).read_bytes() for name in names if not name.startswith("evidence")})
        written[-1] |= {
            name: [Evidence(out / name).probability(index) for index in range(2)]
            for name in names
            if name.startswith("evidence")
        }
    assert repr(written[0]) == repr(written[1])


def test_cores_that_make_no_sense(data, packed, tmp_path):
    with raises("invalid-value", "cores"):
        audit(data=data, out=tmp_path / "audit", probabilities=packed, cores=0)
    assert not (tmp_path / "audit").exists()


def test_goes_on_and_notices_other_probabilities(data, packed, tmp_path):
    first = audit(data=data, out=tmp_path / "audit", probabilities=packed)
    (tmp_path / "audit" / "evidence" / "d.npz").unlink()
    pd.testing.assert_frame_equal(audit(data=data, out=tmp_path / "audit", probabilities=packed), first)
    assert set(json.loads((tmp_path / "audit" / "audit.json").read_text())["evidence"]["probabilities"]) == set(CASES)
    np.savez(packed / "a.npz", probabilities=np.full_like(np.load(packed / "a.npz")["probabilities"], 0.5))
    with pytest.raises(InputError, match="holds an audit of other evidence"):
        audit(data=data, out=tmp_path / "audit", probabilities=packed)


def test_evidence_on_another_grid_is_made_anew(data, packed, tmp_path):
    first = audit(data=data, out=tmp_path / "audit", probabilities=packed)
    write_evidence(tmp_path / "audit" / "evidence" / "b.npz", np.full((2, 4, 4, 4), 0.5))
    pd.testing.assert_frame_equal(audit(data=data, out=tmp_path / "audit", probabilities=packed), first)


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


class TestOrder:
    """How arrays without a header are taken to lie on the labels."""

    @pytest.fixture
    def mixed(self, make_folder, write_scan, tmp_path):
        """Scans of which two are stored LPS, with an organ on one side, and arrays in RAS order as well as labels."""
        root = make_folder("mixed", cases=CASES, shape=(20, 20, 16), affine=np.diag([1.0, 1, 1.5, 1]))
        (tmp_path / "ras").mkdir()
        grid = np.moveaxis(np.indices((20, 20, 16)), 0, -1)
        for number, case in enumerate(CASES):
            centre = np.array([6, 7, 8]) + np.random.default_rng(number).uniform(-1, 1, 3)
            organ = ((((grid - centre) / [4, 5, 4]) ** 2).sum(-1) < 1).astype(np.uint8)
            image = (100 + 60 * organ).astype(np.uint8)
            image[0, 0, 0] = number
            affine = np.diag([1.0, 1, 1.5, 1])
            stored = (organ, image)
            if number >= 4:
                affine = np.diag([-1.0, -1, 1.5, 1])
                stored = tuple(np.flip(array, (0, 1)) for array in stored)
            write_scan(root / "labelsTr" / f"{case}.nii.gz", stored[0], affine)
            write_scan(root / "imagesTr" / f"{case}_0000.nii.gz", stored[1], affine)
            sure = 0.9 * organ.T + 0.05
            np.savez(tmp_path / "ras" / f"{case}.npz", probabilities=np.stack([1 - sure, sure]).astype(np.float16))
        return root, tmp_path / "ras"

    def declare(self, folder, reader, name="plans.json", key="image_reader_writer"):
        (folder / name).write_text(json.dumps({key: reader}))

    def remarks(self, tmp_path):
        return " ".join(json.loads((tmp_path / "audit" / "audit.json").read_text())["remarks"])

    @pytest.mark.parametrize("declared", ["plans.json", "dataset.json", "data", None])
    def test_of_a_reader_that_reorients(self, mixed, tmp_path, declared):
        data, given = mixed
        if declared == "data":
            description = json.loads((data / "dataset.json").read_text())
            description["overwrite_image_reader_writer"] = "NibabelIOWithReorient"
            (data / "dataset.json").write_text(json.dumps(description))
        elif declared == "dataset.json":
            self.declare(given, "NibabelIOWithReorient", declared, "overwrite_image_reader_writer")
        elif declared:
            self.declare(given, "NibabelIOWithReorient")
        table = audit(data=data, out=tmp_path / "audit", probabilities=given)
        assert table["dice_to_prediction"].min() > 0.98
        assert (table["kind"] == "ok").all()
        remarks = self.remarks(tmp_path)
        assert "(z, y, x) of the scan in RAS" in remarks
        assert ("NibabelIOWithReorient" in remarks) == (declared is not None)

    def test_a_wrong_declaration_is_said_and_nothing_is_proposed_where_it_matters(self, mixed, tmp_path):
        data, given = mixed
        self.declare(given, "SimpleITKIO")
        table = audit(data=data, out=tmp_path / "audit", probabilities=given).set_index("case")
        assert table.loc[["e", "f"], "dice_to_prediction"].max() < 0.5
        assert set(table.loc[["e", "f"], "proposal"]) == {"none"}
        assert table.loc[["e", "f"], "correction_mm"].isna().all()
        assert "they fit the labels far better as (z, y, x) of the scan in RAS" in self.remarks(tmp_path)
        correct(data=data, audit=tmp_path / "audit", out=tmp_path / "out", minimum_score=0.0, correct_offsets=True)
        for case in "ef":
            old, new = (read_label(root / "labelsTr" / f"{case}.nii.gz")[0] for root in (data, tmp_path / "out"))
            np.testing.assert_array_equal(new, old)

    def test_an_unknown_reader_is_named_and_the_order_looked_for(self, data, packed, tmp_path):
        self.declare(packed, "HomeGrownIO")
        audit(data=data, out=tmp_path / "audit", probabilities=packed)
        assert "names the reader 'HomeGrownIO', which is not known" in self.remarks(tmp_path)

    def test_transposed_and_mirrored_arrays_are_brought_back(self, data, packed, tmp_path):
        expected = audit(data=data, out=tmp_path / "first", probabilities=packed)
        for case in CASES:
            array = np.load(packed / f"{case}.npz")["probabilities"]
            np.savez(packed / f"{case}.npz", probabilities=np.flip(array.transpose(0, 2, 3, 1), 3))
        found = audit(data=data, out=tmp_path / "audit", probabilities=packed)
        pd.testing.assert_frame_equal(found, expected)
        assert "(y, x, -z) as stored" in self.remarks(tmp_path)

    def test_another_declaration_is_another_audit(self, data, packed, tmp_path):
        audit(data=data, out=tmp_path / "audit", probabilities=packed)
        self.declare(packed, "NibabelIO")
        with pytest.raises(InputError, match="holds an audit of other evidence"):
            audit(data=data, out=tmp_path / "audit", probabilities=packed)

    def test_classes_in_the_order_of_the_models_own_dataset_json(self, data, packed, tmp_path):
        expected = audit(data=data, out=tmp_path / "first", probabilities=packed)
        (packed / "dataset.json").write_text(json.dumps({"labels": {"organ": 0, "background": 1}}))
        for case in CASES:
            array = np.load(packed / f"{case}.npz")["probabilities"]
            np.savez(packed / f"{case}.npz", probabilities=array[::-1])
        pd.testing.assert_frame_equal(audit(data=data, out=tmp_path / "audit", probabilities=packed), expected)

    def test_zeros_beyond_the_crop_are_background(self, data, packed, tmp_path):
        for case in CASES:
            array = np.load(packed / f"{case}.npz")["probabilities"]
            array[:, :, :, :2] = 0
            np.savez(packed / f"{case}.npz", probabilities=array)
        audit(data=data, out=tmp_path / "audit", probabilities=packed)
        evidence = Evidence(tmp_path / "audit" / "evidence" / "b.npz")
        assert evidence.probability(0)[:2].min() > 0.999
        assert evidence.probability(1)[:2].max() < 0.001


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

    def test_a_background_that_is_missing(self, data, packed, tmp_path):
        for case in CASES:
            array = np.load(packed / f"{case}.npz")["probabilities"]
            np.savez(packed / f"{case}.npz", probabilities=array[1:])
        self.refused(
            data, packed, tmp_path, r"the background seems to be missing, as the classes are background, organ"
        )

    def test_a_cropped_array(self, data, packed, tmp_path):
        array = np.load(packed / "b.npz")["probabilities"]
        np.savez(packed / "b.npz", probabilities=array[:, 2:-2, 1:, 3:])
        self.refused(data, packed, tmp_path, r"b\.npz: has the shape .*; it seems to be cropped")

    def test_a_declared_reader_that_the_shape_does_not_fit(self, data, packed, tmp_path):
        (packed / "plans.json").write_text(json.dumps({"image_reader_writer": "SimpleITKIO"}))
        for case in CASES:
            array = np.load(packed / f"{case}.npz")["probabilities"]
            np.savez(packed / f"{case}.npz", probabilities=array.transpose(0, 3, 2, 1))
        self.refused(
            data, packed, tmp_path, r"has the shape 2 x 20 x 18 x 16, but 2 x 16 x 18 x 20 lies over the label"
        )

    def test_both_forms_at_once(self, data, packed, maps, tmp_path):
        for file in (maps / "probabilities").glob("b_*"):
            file.rename(packed / file.name)
        (packed / "b.npz").unlink()
        self.refused(data, packed, tmp_path, r"holds a\.npz, but of case 'b' b_background\.nii\.gz")

    @pytest.mark.parametrize("content", [b"", b"PK nonsense"])
    def test_a_damaged_file(self, data, packed, tmp_path, content):
        (packed / "a.npz").write_bytes(content)
        self.refused(data, packed, tmp_path, r"a\.npz: is damaged")

    def test_pickles_are_not_opened(self, data, packed, tmp_path):
        np.savez(packed / "a.npz", probabilities=np.array([{"a": 1}], dtype=object))
        self.refused(data, packed, tmp_path, r"a\.npz: has the shape 1 and holds Python objects")

    def test_a_run_as_well(self, data, packed, tmp_path):
        with pytest.raises(InputError, match="both given"):
            audit(data=data, out=tmp_path / "audit", probabilities=packed, run=Run(tmp_path / "run").path)
