from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_files import LPS_TO_RAS, enhanced, oblique, save, segmentation, slices_of, structure_set
from refusals import raises

from segmend.core.case import Quality
from segmend.data import dicom
from segmend.data.dicom import import_dicom
from segmend.data.dicom.links import Link, read_links
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_image, read_label

SHAPE = (12, 8, 5)
RANDOM = np.random.default_rng(2)
STORED = RANDOM.integers(0, 3000, SHAPE).astype(np.uint16)
LABEL = RANDOM.integers(0, 3, SHAPE)


def imported(root, tmp_path, name="out", **options):
    import_dicom(root, tmp_path / name, **options)
    return DataFolder.open(tmp_path / name)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "dicom"


@pytest.fixture
def two_cases(root):
    """A series with a SEG of liver and kidney, and one with an RTSTRUCT of a liver spelt in capitals."""
    one, other = slices_of(STORED, oblique(), patient="P1"), slices_of(STORED, oblique(), patient="P2")
    save(one, root / "a")
    save(other, root / "b" / "images")
    segmentation(root / "a" / "seg.dcm", one, {"liver": LABEL == 1, "kidney": LABEL == 2})
    polygon = np.array([[1.5, 1.5], [4.5, 1.5], [4.5, 3.5], [1.5, 3.5]])
    voxels = np.column_stack([polygon, np.full(4, 3), np.ones(4)])
    structure_set(root / "b" / "rt.dcm", other, {"LIVER": [(voxels @ (LPS_TO_RAS @ oblique()).T)[:, :3]]})
    return root


class TestWholeFolders:
    def test_scans_labels_and_tables(self, two_cases, tmp_path, contents):
        before = contents(two_cases)
        folder = imported(two_cases, tmp_path)
        assert contents(two_cases) == before
        assert folder.labels == {"background": 0, "kidney": 1, "LIVER": 2}  # of equally many spellings the first
        assert folder.channel_names == ("CT",)
        assert [case.name for case in folder.cases] == ["P1_20240131_s3", "P2_20240131_s3"]
        assert {case.quality for case in folder.cases} == {Quality.NOISY}
        for case in folder.cases:
            image, grid = read_image(case.images[0])
            np.testing.assert_array_equal(image[0], STORED.astype(int) - 1024)
            np.testing.assert_allclose(grid.affine, oblique(), atol=1e-4)
            assert read_grid(case.label).matches(grid)
            assert nibabel.load(case.images[0]).get_data_dtype() == np.int16
        one, other = (read_label(case.label)[0] for case in folder.cases)
        np.testing.assert_array_equal(one, np.array([0, 2, 1])[LABEL])
        expected = np.zeros(SHAPE, int)
        expected[2:5, 2:4, 3] = 2
        np.testing.assert_array_equal(other, expected)

    def test_links(self, two_cases, tmp_path):
        imported(two_cases, tmp_path)
        links = read_links(tmp_path / "out")
        assert [link.folder for link in links.values()] == ["a", "b/images"]
        uid = pydicom.dcmread(next((two_cases / "a").glob("IM*"))).SeriesInstanceUID
        assert links["P1_20240131_s3"] == Link(uid, "a")

    def test_anonymous_cases_say_nothing_about_the_patient(self, two_cases, tmp_path):
        folder = imported(two_cases, tmp_path, anonymous=True)
        assert [case.name for case in folder.cases] == ["case_001", "case_002"]
        for path in (tmp_path / "out").rglob("*"):
            if path.is_file():
                content = nibabel.load(path).header.binaryblock if path.suffix == ".gz" else path.read_bytes()
                assert not any(text in content for text in (b"P1", b"P2", b"2024", b"Curie", b"images"))

    def test_chosen_structures_in_the_order_given(self, two_cases, tmp_path):
        folder = imported(two_cases, tmp_path, labels=["Liver"])
        assert list(folder.labels) == ["background", "LIVER"]
        np.testing.assert_array_equal(read_label(folder.cases[0].label)[0], LABEL == 1)
        folder = imported(two_cases, tmp_path, "other", labels=["liver", "kidney"])
        assert folder.labels == {"background": 0, "LIVER": 1, "kidney": 2}
        folder = imported(two_cases, tmp_path, "third", labels=["kidney"])
        assert [case.quality for case in folder.cases] == [Quality.NOISY, Quality.NONE]
        assert folder.cases[1].label is None

    def test_without_labels(self, root, tmp_path, capsys):
        save(slices_of(STORED, oblique(), modality="MR"), root)
        folder = imported(root, tmp_path)
        assert list(folder.labels) == ["background", "foreground"]
        assert folder.cases[0].quality is Quality.NONE
        assert not (tmp_path / "out" / "labelsTr").exists()
        assert "no RTSTRUCT or SEG belongs to a series" in capsys.readouterr().err
        assert list(imported(root, tmp_path, "named", labels=["liver"]).labels) == ["background", "liver"]

    def test_an_enhanced_object(self, root, tmp_path):
        datasets = slices_of(STORED, oblique())
        path = enhanced(datasets, root)
        segmentation(root / "seg.dcm", [pydicom.dcmread(path)], {"a": (LABEL == 1)[..., order_of(path)]})
        folder = imported(root, tmp_path)
        np.testing.assert_array_equal(read_image(folder.cases[0].images[0])[0][0], STORED.astype(int) - 1024)
        np.testing.assert_array_equal(read_label(folder.cases[0].label)[0], LABEL == 1)

    def test_several_objects_of_one_series(self, root, tmp_path):
        datasets = slices_of(STORED, oblique())
        save(datasets, root)
        segmentation(root / "one.dcm", datasets, {"a": LABEL == 1})
        segmentation(root / "two.dcm", datasets, {"b": LABEL == 2})
        folder = imported(root, tmp_path)
        np.testing.assert_array_equal(read_label(folder.cases[0].label)[0], LABEL)


def order_of(path):
    """The slice of each frame."""
    lps = LPS_TO_RAS @ oblique()
    positions = [
        np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        for groups in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    ]
    return [round((np.linalg.inv(lps) @ [*position, 1])[2]) for position in positions]


def test_links_to_folders_are_followed_but_not_in_a_circle(two_cases, tmp_path):
    place = tmp_path / "links"
    place.mkdir()
    (place / "a").symlink_to(two_cases, target_is_directory=True)
    (two_cases / "b" / "circle").symlink_to(place, target_is_directory=True)
    assert len(imported(place, tmp_path).cases) == 2


class TestWhatIsLeftOut:
    def test_other_objects_and_files(self, two_cases, tmp_path, capsys):
        source = pydicom.dcmread(next((two_cases / "a").glob("IM*")))
        plan = pydicom.Dataset()
        plan.file_meta = source.file_meta
        plan.SOPClassUID, plan.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.3.4"
        plan.StudyInstanceUID, plan.SeriesInstanceUID, plan.Modality = source.StudyInstanceUID, "1.2.3.5", "RTPLAN"
        plan.save_as(two_cases / "plan", enforce_file_format=True)
        scout = slices_of(STORED[..., :1], oblique(), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        save(scout, two_cases / "scout")
        film = slices_of(STORED[..., :1], oblique())[0]
        del film.ImagePositionPatient
        save([film], two_cases / "film")
        (two_cases / "readme.txt").write_text("hello")
        (two_cases / ".hidden").write_text("hello")
        assert len(imported(two_cases, tmp_path).cases) == 2
        said = capsys.readouterr().err
        assert f"left out: 1 RTPLAN objects; the first is {two_cases / 'plan'}" in said
        assert "left out: 1 CT localisers; the first is" in said
        assert "left out: 1 CT images without a position in the patient" in said
        assert f"left out: 1 files that are no DICOM; the first is {two_cases / 'readme.txt'}" in said

    def test_series_of_another_modality_and_their_labels(self, two_cases, tmp_path, capsys):
        other = slices_of(STORED, oblique(), modality="MR", patient="P3")
        save(other, two_cases / "mr")
        segmentation(two_cases / "mr" / "seg.dcm", other, {"spleen": LABEL == 1})
        with raises(
            "mismatch", two_cases, match=r"CT \(2 series\), MR \(1 series\)\. Choose one, such as `modality CT`"
        ):
            imported(two_cases, tmp_path)
        folder = imported(two_cases, tmp_path, modality="ct")
        assert list(folder.labels) == ["background", "kidney", "LIVER"]
        assert "left out: 1 labels of series that were not chosen" in capsys.readouterr().err
        with raises("unknown-name", "modality"):
            imported(two_cases, tmp_path, "other", modality="PT")

    def test_series_by_their_uids(self, two_cases, tmp_path):
        uid = str(pydicom.dcmread(next((two_cases / "a").glob("IM*"))).SeriesInstanceUID)
        assert [case.name for case in imported(two_cases, tmp_path, series=[uid]).cases] == ["P1_20240131_s3"]
        with raises("unknown-name", "series", match=r"'1\.2'"):
            imported(two_cases, tmp_path, "other", series=["1.2"])


class TestRefusals:
    def test_structures_that_overlap_are_named(self, root, tmp_path):
        for patient in ("P1", "P2"):
            datasets = slices_of(STORED, oblique(), patient=patient)
            save(datasets, root / patient)
            masks = {"body": LABEL >= 0, "liver": LABEL == 1, "lung": LABEL == 2}
            segmentation(root / f"{patient}.dcm", datasets, masks)
        count = int((LABEL == 1).sum())
        with raises("unsupported", "labels", match="2 pairs of structures overlap") as raised:
            imported(root, tmp_path)
        assert f"body and liver: {count} voxels of P1_20240131_s3 and 1 other cases" in str(raised.value)
        assert "choose structures that do not overlap by `labels NAME NAME`" in raised.value.remedy
        assert not (tmp_path / "out").exists()
        assert len(imported(root, tmp_path, labels=["liver", "lung"]).labels) == 3

    def test_one_structure_in_two_objects(self, root, tmp_path):
        datasets = slices_of(STORED, oblique())
        save(datasets, root)
        for name in ("one", "two"):
            segmentation(root / f"{name}.dcm", datasets, {"liver": LABEL == 1})
        with raises("duplicate", root / "two.dcm", match="keep one|Keep one"):
            imported(root, tmp_path)

    def test_a_label_without_its_series(self, two_cases, tmp_path):
        for path in (two_cases / "b" / "images").iterdir():
            path.unlink()
        with raises("missing-file", two_cases / "b" / "rt.dcm", match="which is not there"):
            imported(two_cases, tmp_path)

    def test_all_problems_at_once_and_nothing_written(self, two_cases, tmp_path):
        for place in ("a", "b/images"):
            series = {pydicom.dcmread(path).InstanceNumber: path for path in (two_cases / place).glob("IM*")}
            series[3].unlink()
        with raises("missing-file", two_cases, match="2 series and labels that cannot be used") as raised:
            imported(two_cases, tmp_path)
        assert len(raised.value.details) == 2
        assert not (tmp_path / "out").exists()

    def test_unknown_structures(self, two_cases, tmp_path):
        with raises("unknown-name", "labels", match=r"no structure 'livre'.*LIVER"):
            imported(two_cases, tmp_path, labels=["livre"])

    def test_the_same_instance_twice(self, two_cases, tmp_path):
        path = next((two_cases / "a").glob("IM*"))
        shutil.copyfile(path, two_cases / "copy.dcm")
        with raises("duplicate", two_cases, match="the same instance"):
            imported(two_cases, tmp_path)

    def test_two_series_with_one_uid(self, root, tmp_path):
        one, other = slices_of(STORED, oblique(), patient="P1"), slices_of(STORED, oblique(), patient="P2")
        for dataset in other:
            dataset.SeriesInstanceUID = one[0].SeriesInstanceUID
        save(one, root / "a")
        save(other, root / "b")
        with raises("duplicate", root / "b", match="another study or patient"):
            imported(root, tmp_path)

    def test_folders_without_a_series(self, root, tmp_path):
        with raises("missing-file", root):
            imported(root, tmp_path)
        root.mkdir()
        with raises("no-data", root, match="holds no series of slices"):
            imported(root, tmp_path)
        (root / "notes.txt").write_text("hello")
        with raises("no-data", root, match=r"but 1 files that are no DICOM, such as .*notes\.txt"):
            imported(root, tmp_path)

    @pytest.mark.parametrize("content", [b"", b"no DICOM at all" * 30, b"\x00" * 200])
    def test_unreadable_files(self, two_cases, tmp_path, content):
        (two_cases / "broken.dcm").write_bytes(content)
        with raises("damaged", two_cases / "broken.dcm"):
            imported(two_cases, tmp_path)

    def test_places_of_the_output(self, two_cases, tmp_path):
        with raises("invalid-value", two_cases / "out"):
            import_dicom(two_cases, two_cases / "out")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("unsaved")
        with raises("already-exists", tmp_path / "full"):
            import_dicom(two_cases, tmp_path / "full")

    def test_without_the_libraries(self, two_cases, tmp_path, monkeypatch):
        monkeypatch.setattr(dicom, "find_spec", lambda name: None)
        with raises("environment", match=r"needs pydicom and highdicom.*pip install segmend\[dicom\]"):
            imported(two_cases, tmp_path)


@pytest.mark.parametrize(
    "content", [{}, {"cases": []}, {"cases": {"a": {}}}, {"cases": {"a": {"series": 3}}}, {"cases": {"a": "1.2"}}]
)
def test_links_that_cannot_be_used(tmp_path, content):
    (tmp_path / "dicom.json").write_text(json.dumps(content))
    with raises("damaged", tmp_path / "dicom.json"):
        read_links(tmp_path)
