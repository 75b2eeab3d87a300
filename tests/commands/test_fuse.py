from __future__ import annotations

import nibabel
import numpy as np
import pandas as pd
import pytest
from refusals import raises

import segmend
from segmend.cli import main
from segmend.core.case import Quality
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_image, read_label
from segmend.data.maps import MapNames
from segmend.fusion import majority, staple_label


@pytest.fixture
def data(make_folder):
    """Three raters of three cases; labelsTr is one of them."""
    return make_folder(raters=("ann", "ben"), labels={"background": 0, "organ": 3, "vessel": 7})


def drawings(data, case, folders=("labelsTr", "labelsTr_ann", "labelsTr_ben")):
    folder = DataFolder.open(data)
    return [folder.to_indices(read_label(data / name / f"{case}.nii.gz")[0]) for name in folders]


@pytest.mark.parametrize("rule", ["majority", "staple"])
def test_fused_labels_lie_on_the_scan(data, tmp_path, contents, rule):
    before = contents(data)
    out = tmp_path / "fused"
    assert main(["fuse", "--data", str(data), "--out", str(out), "--rule", rule]) == 0
    assert contents(data) == before
    folder = DataFolder.open(out)
    for case in folder.cases:
        values, grid = read_label(case.label)
        assert grid.matches(read_grid(case.images[0]))
        expected = {"majority": majority, "staple": staple_label}[rule](drawings(data, case.name), 3)
        np.testing.assert_array_equal(folder.to_indices(values), expected)
        assert nibabel.load(case.label).get_data_dtype() == np.uint8
    assert {case.quality for case in folder.cases} == {Quality.NOISY}


def test_disagreement_soft_means_and_table(data, tmp_path):
    table = segmend.fuse(data=data, out=tmp_path / "fused", soft=True)
    share, grid = read_image(tmp_path / "fused" / "disagreement" / "case_1.nii.gz")
    assert set(np.round(np.unique(share), 4)) <= {0, np.float32(0.3333), np.float32(0.6667)}
    assert grid.matches(read_grid(data / "imagesTr" / "case_1_0000.nii.gz"))
    names = ["background", "organ", "vessel"]
    maps = [read_image(tmp_path / "fused" / "soft" / f"case_1_{name}.nii.gz")[0] for name in names]
    np.testing.assert_allclose(sum(maps), 1, atol=1e-6)
    np.testing.assert_allclose(maps[1][0], np.mean([d == 1 for d in drawings(data, "case_1")], axis=0), atol=1e-6)
    read = pd.read_csv(tmp_path / "fused" / "fusion.csv")
    pd.testing.assert_frame_equal(read, table, check_exact=False, rtol=1e-4)
    assert len(table) == 3 * 2 * 3
    assert table.groupby("rater")["dice_to_fused"].mean().idxmax() == "ann"  # who lies between the others


def test_some_raters(data, tmp_path):
    segmend.fuse(data=data, out=tmp_path / "fused", raters=["ann", "ben"])
    folder = DataFolder.open(tmp_path / "fused")
    expected = majority(drawings(data, "case_2", ("labelsTr_ann", "labelsTr_ben")), 3)
    np.testing.assert_array_equal(folder.to_indices(read_label(folder.cases[1].label)[0]), expected)


def test_without_labels_of_a_main_rater(data, tmp_path):
    for file in (data / "labelsTr").iterdir():
        file.unlink()
    (data / "labelsTr").rmdir()
    (data / "labelsTr_ben" / "case_3.nii.gz").unlink()
    table = segmend.fuse(data=data, out=tmp_path / "fused")
    folder = DataFolder.open(tmp_path / "fused")
    assert {case.quality for case in folder.cases} == {Quality.NOISY}
    assert set(table["case"]) == {"case_1", "case_2"}
    only = read_label(data / "labelsTr_ann" / "case_3.nii.gz")[0]
    np.testing.assert_array_equal(read_label(folder.cases[2].label)[0], only)


def test_says_who_drew_less(data, tmp_path, capsys):
    (data / "labelsTr_ann" / "case_2.nii.gz").unlink()
    for rater in ("ann", "ben"):
        (data / f"labelsTr_{rater}" / "case_3.nii.gz").unlink()
    segmend.fuse(data=data, out=tmp_path / "fused")
    printed = capsys.readouterr().err
    assert f"labels fused: 2, in {tmp_path / 'fused'}" in printed
    assert "ann drew 1 of them; the first without is case_2" in printed
    assert "labels of one rater only, kept as they are: 1; the first is case_3" in printed


@pytest.mark.parametrize("names", [["1", "03"], ["1,03"], ["[1, 03]"], ["['1','03']"], ["1 03"]])
def test_raters_that_are_called_by_numbers(make_folder, tmp_path, names):
    data = make_folder(raters=("1", "2", "03"))
    assert main(["fuse", "--data", str(data), "--out", str(tmp_path / "fused"), "--raters", *names]) == 0
    table = pd.read_csv(tmp_path / "fused" / "fusion.csv", dtype=str)
    assert set(table["rater"]) == {"1", "03"}


def test_pictures(make_folder, tmp_path):
    data = make_folder(shape=(20, 18), ending=".png", raters=("ann",))
    segmend.fuse(data=data, out=tmp_path / "fused", rule="staple")
    assert read_label(tmp_path / "fused" / "labelsTr" / "case_1.png")[0].shape == (20, 18)


class TestRefusals:
    @pytest.fixture
    def refused(self, tmp_path, capsys):
        def call(data, *words, out="fused"):
            status = main(["fuse", "--data", str(data), "--out", str(tmp_path / out), *words])
            assert status in (1, 2)
            return capsys.readouterr().err

        return call

    def test_one_rater(self, make_folder, refused):
        assert "has only the rater labelsTr" in refused(make_folder())

    def test_unknown_rater(self, data, refused):
        assert "there is no rater 'eva'" in refused(data, "--raters", "[ann, eva]")

    def test_unknown_rule(self, data, refused):
        assert "--rule must be majority or staple, got 'mean'" in refused(data, "--rule", "mean")

    def test_a_label_elsewhere(self, data, write_scan, refused):
        write_scan(data / "labelsTr_ann" / "case_2.nii.gz", np.zeros((4, 4, 4), np.uint8))
        assert "labelsTr_ann/case_2.nii.gz: does not lie over its scan" in refused(data)

    def test_output(self, data, tmp_path, refused):
        assert "lies in the data folder" in refused(data, out="data/fused")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("unsaved")
        assert "already holds something" in refused(data, out="full")
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_soft_maps_that_would_share_a_file_have_files_of_their_own(make_folder, tmp_path):
    labels = {"background": 0, "kidney": 1, "left_kidney": 2}
    root = make_folder("pairs", cases=("p1", "p1_left"), labels=labels, raters=("ann",))
    segmend.fuse(data=root, out=tmp_path / "fused", soft=True)
    names = MapNames(("p1", "p1_left"), labels)
    assert len(list((tmp_path / "fused" / "soft").iterdir())) == 6
    for case in names.cases:
        maps = [read_image(tmp_path / "fused" / "soft" / names.name(case, label))[0] for label in labels]
        np.testing.assert_allclose(sum(maps), 1, atol=1e-6)


def test_soft_maps_of_cases_that_differ_in_capitals_are_refused(make_folder, tmp_path):
    root = make_folder("capitals", cases=("a", "A"), raters=("ann",))
    with raises("duplicate", match=r"differ in capitals|need maps of one file name"):
        segmend.fuse(data=root, out=tmp_path / "fused", soft=True)
    assert not (tmp_path / "fused").exists()
