from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data import check
from segmend.data.check import load_case, problems_of_case, problems_of_folder, survey_folder
from segmend.data.folder import DataFolder

SHAPE = (20, 18, 16)
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])


def the_problem(root) -> str:
    """The one thing that is wrong with a folder; also what ``load_case`` says of it."""
    (problem,) = problems_of_folder(root)
    folder = DataFolder.open(root)
    raised = []
    for case in folder.cases:
        try:
            load_case(case, folder)
        except InputError as error:
            raised.append(str(error))
    assert raised == [str(problem)]
    return str(problem).removeprefix(f"{root}/")


def shifted(affine: np.ndarray, millimetres: float) -> np.ndarray:
    moved = affine.copy()
    moved[0, 3] += millimetres
    return moved


class TestLoading:
    def test_a_case_is_loaded_as_it_lies_on_disk(self, make_folder):
        root = make_folder(labels={"background": 0, "liver": 6, "tumour": 7}, channels=("T1", "T2"))
        folder = DataFolder.open(root)
        loaded = load_case(folder.cases[1], folder)
        assert loaded.image.shape == (2, *SHAPE)
        assert loaded.image.dtype == np.float32
        for channel in (0, 1):
            file = nibabel.load(root / "imagesTr" / f"case_2_{channel:04d}.nii.gz")
            np.testing.assert_array_equal(loaded.image[channel], file.get_fdata())
        values = nibabel.load(root / "labelsTr" / "case_2.nii.gz").get_fdata()
        assert loaded.label is not None
        assert loaded.label.dtype == np.uint8
        np.testing.assert_array_equal(np.array([0, 6, 7])[loaded.label], values)
        np.testing.assert_allclose(loaded.grid.affine, AFFINE)

    def test_the_channels_of_a_colour_picture_are_channels(self, make_folder):
        root = make_folder(cases=("a",), shape=(6, 5), ending=".png")
        colours = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(colours, isVector=True), str(root / "imagesTr" / "a_0000.png"))
        description = json.loads((root / "dataset.json").read_text())
        description["channel_names"] = {"0": "red", "1": "green", "2": "blue"}
        (root / "dataset.json").write_text(json.dumps(description))
        folder = DataFolder.open(root)
        np.testing.assert_array_equal(load_case(folder.cases[0], folder).image, colours.transpose(2, 1, 0))

    def test_voxels_that_were_not_annotated_are_ignored(self, make_folder, write_scan):
        root = make_folder(cases=("a",), labels={"background": 0, "organ": 1, "ignore": 2})
        values = np.random.default_rng(0).integers(0, 3, SHAPE, dtype=np.uint8)
        write_scan(root / "labelsTr" / "a.nii.gz", values, AFFINE)
        folder = DataFolder.open(root)
        np.testing.assert_array_equal(load_case(folder.cases[0], folder).label, np.array([0, 1, IGNORE])[values])

    def test_a_label_of_quality_none_is_not_shown_nor_looked_at(self, make_folder):
        root = make_folder(table="case,quality\ncase_1,none\n")
        (root / "labelsTr" / "case_1.nii.gz").write_bytes(b"broken")
        folder = DataFolder.open(root)
        assert load_case(folder.cases[0], folder).label is None
        assert problems_of_folder(root) == []

    @pytest.mark.parametrize(("shape", "ending"), [((9, 8), ".png"), ((9, 8), ".tif"), ((9, 8, 7), ".mha")])
    def test_other_formats_are_loaded(self, make_folder, shape, ending):
        root = make_folder(cases=("a",), shape=shape, ending=ending)
        assert problems_of_folder(root) == []
        folder = DataFolder.open(root)
        assert load_case(folder.cases[0], folder).image.shape == (1, *shape)


class TestFiles:
    @pytest.mark.parametrize("name", ["imagesTr/case_2_0000.nii.gz", "labelsTr/case_2.nii.gz"])
    def test_a_truncated_file(self, make_folder, name):
        root = make_folder()
        (root / name).write_bytes((root / name).read_bytes()[:-100])
        assert the_problem(root) == (
            f"{name}: cannot be read; it is damaged, truncated or of another format. Copy or export it again."
        )

    def test_a_file_that_vanished(self, make_folder):
        root = make_folder()
        folder = DataFolder.open(root)
        for image in folder.cases[0].images:
            image.unlink()
        (problem,) = problems_of_case(folder.cases[0], folder)
        assert str(problem) == f"{folder.cases[0].images[0]}: does not exist. Check the name and the folder."

    def test_a_4d_scan(self, make_folder):
        root = make_folder()
        path = root / "imagesTr" / "case_1_0000.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.zeros((*SHAPE, 2)), AFFINE), path)
        assert the_problem(root).startswith(
            "imagesTr/case_1_0000.nii.gz: has 4 dimensions (20, 18, 16, 2). Split it into one 3D"
        )

    def test_a_label_of_fractions(self, make_folder, write_scan):
        root = make_folder()
        write_scan(root / "labelsTr" / "case_1.nii.gz", np.full(SHAPE, 0.5), AFFINE)
        assert the_problem(root).startswith("labelsTr/case_1.nii.gz: holds values that are not whole numbers")

    def test_every_file_is_looked_at(self, make_folder):
        root = make_folder(channels=("T1", "T2"))
        for name in ("imagesTr/case_1_0000", "imagesTr/case_1_0001", "labelsTr/case_1", "imagesTr/case_3_0001"):
            (root / f"{name}.nii.gz").write_bytes(b"broken")
        found = [problem.where.removeprefix(f"{root}/") for problem in problems_of_folder(root)]
        assert found == [
            "imagesTr/case_1_0000.nii.gz",
            "imagesTr/case_1_0001.nii.gz",
            "labelsTr/case_1.nii.gz",
            "imagesTr/case_3_0001.nii.gz",
        ]


class TestChannels:
    def test_a_missing_channel(self, make_folder):
        root = make_folder(channels=("T1", "T2"))
        (root / "imagesTr" / "case_2_0001.nii.gz").unlink()
        assert the_problem(root) == (
            "imagesTr/case_2_0000.nii.gz: case 'case_2' has 1 channels (case_2_0000.nii.gz: 1), but dataset.json "
            "names 2 (T1, T2). Add or remove files, or correct channel_names."
        )

    def test_a_channel_too_many(self, make_folder, write_scan):
        root = make_folder()
        scan = np.random.default_rng(0).normal(size=SHAPE)
        write_scan(root / "imagesTr" / "case_2_0001.nii.gz", scan, AFFINE)
        assert "case 'case_2' has 2 channels (case_2_0000.nii.gz: 1, case_2_0001.nii.gz: 1)" in the_problem(root)

    def test_colours_where_one_channel_is_named(self, make_folder):
        root = make_folder(shape=(6, 5), ending=".png")
        colours = SimpleITK.GetImageFromArray(np.arange(90, dtype=np.uint8).reshape(5, 6, 3), isVector=True)
        SimpleITK.WriteImage(colours, str(root / "imagesTr" / "case_1_0000.png"))
        assert the_problem(root) == (
            "imagesTr/case_1_0000.png: case 'case_1' has 3 channels (case_1_0000.png: 3), but dataset.json names 1 "
            "(MR). Convert colours to grey, or name all their channels."
        )

    def test_channels_of_different_shape(self, make_folder, write_scan):
        root = make_folder(channels=("T1", "T2"))
        write_scan(root / "imagesTr" / "case_1_0001.nii.gz", np.random.default_rng(0).normal(size=(20, 18, 15)), AFFINE)
        assert the_problem(root) == (
            "imagesTr/case_1_0001.nii.gz: has 20 x 18 x 15 voxels, but its scan case_1_0000.nii.gz has 20 x 18 x 16. "
            "Take the file that belongs to this scan, or resample it to the scan's grid."
        )

    def test_channels_in_different_places(self, make_folder, write_scan):
        root = make_folder(channels=("T1", "T2"))
        scan = np.random.default_rng(0).normal(size=SHAPE)
        write_scan(root / "imagesTr" / "case_1_0001.nii.gz", scan, shifted(AFFINE, 3))
        assert "case_1_0001.nii.gz: lies up to 3 mm away from its scan case_1_0000" in the_problem(root)


class TestPlace:
    def label(self, root) -> np.ndarray:
        return nibabel.load(root / "labelsTr" / "case_1.nii.gz").get_fdata().astype(np.uint8)

    def test_a_label_of_another_shape(self, make_folder, write_scan):
        root = make_folder()
        write_scan(root / "labelsTr" / "case_1.nii.gz", self.label(root).T, AFFINE)
        assert the_problem(root).startswith(
            "labelsTr/case_1.nii.gz: has 16 x 18 x 20 voxels, but its scan case_1_0000.nii.gz has 20 x 18 x 16. Take"
        )

    def test_a_label_in_another_place(self, make_folder, write_scan):
        root = make_folder()
        write_scan(root / "labelsTr" / "case_1.nii.gz", self.label(root), shifted(AFFINE, 12.5))
        assert the_problem(root) == (
            "labelsTr/case_1.nii.gz: lies up to 12.5 mm away from its scan case_1_0000.nii.gz, as the two affines "
            "differ. If it fits the scan voxel by voxel, copy the scan's header to it, otherwise resample it."
        )

    def test_a_label_that_lost_its_header(self, make_folder, write_scan):
        root = make_folder()
        write_scan(root / "labelsTr" / "case_1.nii.gz", self.label(root), np.eye(4))
        assert "lies up to 8 mm away" in the_problem(root)  # 16 slices of 1 mm instead of 1.5

    @pytest.mark.parametrize(("tenths", "problems"), [(0.9, 0), (1.1, 1)])
    def test_a_tenth_of_a_voxel_is_rounding(self, make_folder, write_scan, tenths, problems):
        fine = np.diag([0.4, 0.5, 3.0, 1.0])
        root = make_folder(affine=fine)
        write_scan(root / "labelsTr" / "case_1.nii.gz", self.label(root), shifted(fine, 0.04 * tenths))
        assert len(problems_of_folder(root)) == problems

    def test_rotations_stored_by_two_programs_agree(self, make_folder):
        turn = np.deg2rad(179.5)  # where a quaternion of 32 bits is least exact
        affine = np.eye(4)
        affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        affine[:3, 3] = [212.3, 180.7, -431.9]
        root = make_folder(affine=affine)
        path = root / "labelsTr" / "case_1.nii.gz"
        label = nibabel.load(path)
        label.set_sform(None, code=0)
        label.set_qform(affine, code=1)
        nibabel.save(label, path)
        assert nibabel.load(path).header["sform_code"] == 0
        assert problems_of_folder(root) == []

    def test_pictures_have_no_place(self, make_folder):
        root = make_folder(shape=(20, 18), ending=".tif")
        picture = SimpleITK.ReadImage(str(root / "imagesTr" / "case_1_0000.tif"))
        picture.SetSpacing((0.085, 0.085))  # 300 dots per inch; the label keeps 1 mm
        SimpleITK.WriteImage(picture, str(root / "imagesTr" / "case_1_0000.tif"))
        assert problems_of_folder(root) == []

    def test_what_lies_elsewhere_is_refused_before_its_voxels_are_read(self, make_folder, write_scan, monkeypatch):
        root = make_folder(channels=("T1", "T2"))
        write_scan(root / "labelsTr" / "case_1.nii.gz", self.label(root).T, AFFINE)
        write_scan(root / "imagesTr" / "case_2_0001.nii.gz", np.ones((9, 9, 9)), AFFINE)
        read = []
        for name in ("read_image", "read_label"):
            function = getattr(check, name)
            monkeypatch.setattr(
                check, name, lambda path, function=function: (read.append(path.name), function(path))[1]
            )
        assert len(problems_of_folder(root)) == 2
        assert not {"case_1.nii.gz", "case_2_0001.nii.gz"} & set(read)
        assert {"case_1_0000.nii.gz", "case_2_0000.nii.gz"} < set(read)

    def test_what_was_assumed_of_headers_is_a_remark(self, make_folder):
        root = make_folder()
        for path in root.rglob("*.nii.gz"):
            scan = nibabel.load(path)
            scan.header.set_xyzt_units("micron")
            nibabel.save(scan, path)
        survey = survey_folder(root)
        assert survey.problems == []
        (remark,) = survey.remarks
        assert remark.problem == "is in micrometres, which were converted to mm; the same holds for 2 more scans"
        assert {grid.spacing for grid in survey.grids.values()} == {(0.001, 0.001, 0.0015)}

    def test_big_endian_files_are_as_good(self, make_folder):
        root = make_folder()
        folder = DataFolder.open(root)
        before = [load_case(case, folder) for case in folder.cases]
        for path in root.rglob("*.nii.gz"):
            scan = nibabel.load(path)
            header = nibabel.Nifti1Header(endianness=">")
            header.set_data_dtype(">i2")
            content = nibabel.Nifti1Image(np.asarray(scan.dataobj).astype(">i2"), scan.affine, header)
            nibabel.save(content, path)
        for case, old in zip(folder.cases, before, strict=True):
            new = load_case(case, folder)
            assert new.image.tobytes() == old.image.tobytes()
            assert new.label.tobytes() == old.label.tobytes()


class TestDimensions:
    def test_2d_among_3d(self, make_folder, write_scan):
        root = make_folder()
        write_scan(root / "imagesTr" / "case_2_0000.nii.gz", np.random.default_rng(0).normal(size=(9, 9)))
        write_scan(root / "labelsTr" / "case_2.nii.gz", np.eye(9, dtype=np.uint8))
        (problem,) = problems_of_folder(root)
        assert str(problem) == (
            f"{root}/imagesTr/case_2_0000.nii.gz: is 2D, but 2 of 3 cases are 3D. "
            "Keep 2D and 3D cases in folders of their own."
        )


class TestValues:
    def write(self, write_scan, root, values) -> None:
        label = np.zeros(SHAPE, dtype=np.int16)
        label.flat[: len(values)] = values
        write_scan(root / "labelsTr" / "case_1.nii.gz", label, AFFINE)

    def test_values_that_are_not_named(self, make_folder, write_scan):
        root = make_folder()
        self.write(write_scan, root, [1, 1, 3, 3, -2])
        assert the_problem(root) == (
            "labelsTr/case_1.nii.gz: has 3 voxels of values that dataset.json does not name: -2, 3. "
            "Correct them, or add them to the labels, which are background = 0, organ = 1."
        )

    def test_many_values_are_not_all_listed(self, make_folder, write_scan):
        root = make_folder()
        self.write(write_scan, root, range(2, 200))
        assert "has 198 voxels of values that dataset.json does not name: 2, 3, 4, 5, 6, .... Correct" in the_problem(
            root
        )

    def test_a_mask_of_0_and_255(self, make_folder, write_scan):
        root = make_folder(labels={"background": 0, "liver": 1})
        self.write(write_scan, root, [255, 255])
        assert the_problem(root) == (
            "labelsTr/case_1.nii.gz: is a mask of 0 and 255, but dataset.json names no value 255. "
            'Write "liver": 255 in dataset.json, or divide the masks by 255.'
        )

    def test_the_remedy_for_a_mask_of_0_and_255_works(self, make_folder):
        root = make_folder(cases=("case_1",), labels={"background": 0, "liver": 255})
        assert problems_of_folder(root) == []
        folder = DataFolder.open(root)
        label = load_case(folder.cases[0], folder).label
        assert label is not None
        assert np.unique(label).tolist() == [0, 1]

    def test_255_beside_other_classes_is_no_such_mask(self, make_folder, write_scan):
        root = make_folder()
        self.write(write_scan, root, [1, 255])
        assert "has 1 voxels of values that dataset.json does not name: 255." in the_problem(root)

    def test_255_may_be_the_ignored_value(self, make_folder, write_scan):
        root = make_folder(labels={"background": 0, "organ": 1, "ignore": 255})
        self.write(write_scan, root, [1, 255])
        assert problems_of_folder(root) == []


class TestIntensities:
    def test_nan_and_infinity_are_counted(self, make_folder, write_scan):
        root = make_folder()
        scan = np.random.default_rng(0).normal(size=SHAPE)
        scan.flat[:3] = [np.nan, np.inf, -np.inf]
        write_scan(root / "imagesTr" / "case_3_0000.nii.gz", scan, AFFINE)
        assert the_problem(root) == (
            "imagesTr/case_3_0000.nii.gz: holds 3 voxels that are NaN or infinite. "
            "Replace them, for example by the smallest intensity of the scan."
        )

    def test_a_constant_image(self, make_folder, write_scan):
        root = make_folder()
        write_scan(root / "imagesTr" / "case_3_0000.nii.gz", np.full(SHAPE, 7.0), AFFINE)
        assert the_problem(root) == (
            "imagesTr/case_3_0000.nii.gz: has the value 7 everywhere. Export the scan again, or leave it out."
        )

    def test_one_constant_channel_is_only_remarked(self, make_folder, write_scan):
        root = make_folder(channels=("T1", "T2"))
        write_scan(root / "imagesTr" / "case_3_0001.nii.gz", np.zeros(SHAPE), AFFINE)
        survey = survey_folder(root)
        assert survey.problems == []
        assert [remark.problem for remark in survey.remarks] == [
            "channel 'T2' of case 'case_3' has the value 0 everywhere"
        ]


class TestSurvey:
    def test_a_good_folder(self, make_folder, contents):
        root = make_folder(test_cases=("t",), unlabelled=("case_2",))
        before = contents(root)
        survey = survey_folder(root)
        assert (survey.problems, survey.remarks) == ([], [])
        assert [case.name for case in survey.grids] == ["case_1", "case_2", "case_3", "t"]
        assert {grid.shape for grid in survey.grids.values()} == {SHAPE}
        assert contents(root) == before

    def test_cases_are_compared(self, make_folder, write_scan):
        root = make_folder(unlabelled=("case_3",))
        scan = np.random.default_rng(0).normal(size=SHAPE)
        write_scan(root / "imagesTr" / "case_3_0000.nii.gz", scan, np.diag([1, 1, 9, 1]))
        (remark,) = survey_folder(root).remarks
        assert remark.problem == "has a spacing of 1 x 1 x 9 mm, but the median is 1 x 1 x 1.5 mm"

    def test_layout_first_then_case_by_case(self, make_folder):
        root = make_folder(cases=("a", "b", "c", "d"), table="case,split\nb,vall\n")
        for name in ("labelsTr/d", "imagesTr/a_0000", "labelsTr/b"):
            (root / f"{name}.nii.gz").write_bytes(b"broken")
        found = [problem.where.rsplit("/")[-1] for problem in survey_folder(root).problems]
        assert found == ["cases.csv line 2", "a_0000.nii.gz", "b.nii.gz", "d.nii.gz"]

    def test_a_table_elsewhere_decides_what_is_looked_at(self, make_folder, tmp_path):
        root = make_folder()
        (root / "labelsTr" / "case_1.nii.gz").write_bytes(b"broken")
        assert len(problems_of_folder(root)) == 1
        (tmp_path / "mine.csv").write_text("case,quality\ncase_1,none\n")
        assert problems_of_folder(root, tmp_path / "mine.csv") == []

    def test_a_folder_that_cannot_be_read_at_all(self, tmp_path):
        survey = survey_folder(tmp_path)
        assert survey.folder is None
        assert [problem.where for problem in survey.problems] == [str(tmp_path / "dataset.json")]

    @pytest.mark.parametrize(("shape", "ending"), [((9, 8, 7), ".nii.gz"), ((9, 8), ".png")])
    @given(content=st.binary(max_size=300))
    def test_garbage_in_every_file_gives_problems_only(self, make_folder, tmp_path, shape, ending, content):
        root = tmp_path / "data"
        if not root.exists():
            make_folder(cases=("a",), shape=shape, ending=ending)
        for name in ("imagesTr/a_0000", "labelsTr/a"):
            (root / f"{name}{ending}").write_bytes(content)
        assert [problem.where for problem in problems_of_folder(root)] == [
            f"{root}/imagesTr/a_0000{ending}",
            f"{root}/labelsTr/a{ending}",
        ]
