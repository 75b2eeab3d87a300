from __future__ import annotations

import json
import os
import shutil
import string
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segmend.core.case import Quality, Split
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data.folder import DataFolder, read_folder
from segmend.data.raters import find_raters
from segmend.data.remarks import unused_raters


def messages(root, cases=None) -> list[str]:
    return [str(problem) for problem in read_folder(root, cases)[1]]


def describe(root, **changes) -> None:
    """Rewrites dataset.json with some entries changed; None takes one out."""
    path = root / "dataset.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


class TestOpen:
    def test_without_a_table(self, make_folder):
        root = make_folder(cases=("b", "a"), test_cases=("t", "u"), unlabelled=("b", "u"), channels=("T1", "T2"))
        folder = DataFolder.open(root)
        assert folder.channel_names == ("T1", "T2")
        assert folder.labels == {"background": 0, "organ": 1}
        assert folder.ignore is None
        assert folder.classes == 2
        assert folder.name == "data"
        summary = [(case.name, case.split, case.quality, case.label is not None) for case in folder.cases]
        assert summary == [
            ("a", Split.TRAIN, Quality.NOISY, True),
            ("b", Split.TRAIN, Quality.NONE, False),
            ("t", Split.TEST, Quality.EXPERT, True),
            ("u", Split.TEST, Quality.NONE, False),
        ]
        assert [path.name for path in folder.cases[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
        assert folder.cases[2].label == root / "labelsTs" / "t.nii.gz"

    def test_the_table_overrides(self, make_folder):
        table = "case,domain,split,quality\ncase_1,siteA,val,expert\ncase_2,,,none\n"
        first, second, third = DataFolder.open(make_folder(table=table)).cases
        assert (first.split, first.quality, first.domain) == (Split.VAL, Quality.EXPERT, "siteA")
        assert (second.split, second.quality, second.domain) == (Split.TRAIN, Quality.NONE, "")
        assert (third.split, third.quality) == (Split.TRAIN, Quality.NOISY)

    def test_a_table_elsewhere_replaces_the_one_inside(self, make_folder, tmp_path):
        root = make_folder(table="case,split\ncase_1,val\n")
        other = tmp_path / "mine.csv"
        other.write_text("\ufeffcase,split\r\ncase_2,test\r\n", encoding="utf-8")
        folder = DataFolder.open(root, other)
        assert [case.name for case in folder.select(Split.TEST)] == ["case_2"]
        assert not folder.select(Split.VAL)

    def test_a_rater_gives_the_label(self, make_folder):
        table = "case,annotator,quality\ncase_1,ann,\ncase_2,ann,expert\ncase_3,somebody,\n"
        root = make_folder(raters=("ann",), table=table, unlabelled=())
        first, second, third = DataFolder.open(root).cases
        assert first.label == root / "labelsTr_ann" / "case_1.nii.gz"
        assert (first.quality, first.annotator) == (Quality.NOISY, "ann")
        assert second.quality is Quality.EXPERT
        assert third.label == root / "labelsTr" / "case_3.nii.gz"
        assert third.annotator == "somebody"

    def test_a_rater_labels_a_case_that_had_none(self, make_folder):
        root = make_folder(raters=("ann",), table="case,annotator\ncase_1,ann\n")
        (root / "labelsTr" / "case_1.nii.gz").unlink()
        assert DataFolder.open(root).cases[0].quality is Quality.NOISY

    def test_select_combines_split_and_quality(self, make_folder):
        table = "case,split,quality\na,train,expert\nb,train,noisy\nc,val,expert\n"
        folder = DataFolder.open(make_folder(cases=("c", "b", "a"), table=table))

        def names(**wanted):
            return "".join(case.name for case in folder.select(**wanted))

        assert names() == "abc"
        assert names(split=Split.TRAIN) == "ab"
        assert names(quality=Quality.EXPERT) == "ac"
        assert names(split=Split.VAL, quality=Quality.NOISY) == ""

    def test_nothing_is_written(self, make_folder, contents, tmp_path):
        root = make_folder(table="case,split\ncase_1,val\n")
        (tmp_path / "mine.csv").write_text("case,split\ncase_2,val\n")
        before = contents(root)
        DataFolder.open(root)
        DataFolder.open(root, tmp_path / "mine.csv")
        assert contents(root) == before

    def test_the_first_problem_is_raised_and_the_others_counted(self, make_folder):
        root = make_folder(table="case,split\ncase_1,traning\ncase_2,vall\ncase_9,test\n")
        with pytest.raises(InputError, match=r"line 2: split is 'traning'.*2 more: run 'segmend check --data .*data'"):
            DataFolder.open(root)


class TestLayout:
    def test_not_a_folder(self, tmp_path):
        assert messages(tmp_path / "dta") == [
            f"{tmp_path / 'dta'}: is not a folder. Give the folder that holds dataset.json and imagesTr."
        ]

    def test_no_description(self, tmp_path):
        assert messages(tmp_path) == [
            f"{tmp_path / 'dataset.json'}: does not exist. Write one with channel_names, labels and file_ending."
        ]

    def test_no_images_folder(self, make_folder):
        root = make_folder()
        (root / "imagesTr").rename(root / "images")
        (message,) = messages(root)
        assert "imagesTr: does not exist. Put the training images there" in message

    def test_no_images(self, make_folder):
        root = make_folder()
        for image in (root / "imagesTr").iterdir():
            image.unlink()
        (message,) = messages(root)
        assert "imagesTr: holds no images. Put CASE_0000.nii.gz files there" in message

    @pytest.mark.parametrize(
        "name", ["scan.nii.gz", "scan_000.nii.gz", "scan_0000.nii", "scan_²²²².nii.gz", "_0000.nii.gz"]
    )
    def test_a_misnamed_image(self, make_folder, name):
        root = make_folder()
        (root / "imagesTr" / "case_1_0000.nii.gz").rename(root / "imagesTr" / name)
        (message,) = messages(root)
        assert message.endswith(f"imagesTr/{name}: is not named CASE_0000.nii.gz. Rename it.")

    def test_other_files_among_the_images_are_left_alone(self, make_folder):
        root = make_folder()
        for name in ("readme.txt", ".DS_Store", "._case_1_0000.nii.gz"):
            (root / "imagesTr" / name).touch()
        assert messages(root) == []

    def test_a_gap_in_the_channels(self, make_folder):
        root = make_folder(channels=("T1", "T2", "T3"))
        (root / "imagesTr" / "case_2_0001.nii.gz").unlink()
        (message,) = messages(root)
        assert "imagesTr/case_2: has the channels case_2_0000.nii.gz, case_2_0002.nii.gz. Number them 0000" in message

    def test_a_test_case_with_the_name_of_a_training_case(self, make_folder):
        root = make_folder(test_cases=("case_2",))
        (message,) = messages(root)
        assert "imagesTs/case_2_0000.nii.gz: has the name of the training case 'case_2'. Rename one" in message

    @pytest.mark.parametrize("kind", ["dangling", "loop", "pipe", "folder"])
    @pytest.mark.parametrize(
        "name",
        [
            "labelsTr/case_1.nii.gz",
            "labelsTs/t.nii.gz",
            "labelsTr_ann/case_1.nii.gz",
            "imagesTr/case_1_0000.nii.gz",
            "cases.csv",
            "dataset.json",
        ],
    )
    def test_what_is_no_plain_file_is_not_absent(self, make_folder, name, kind):
        root = make_folder(test_cases=("t",), raters=("ann",), table="case\ncase_1\n")
        path = root / name
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name if kind == "loop" else "gone")
        problem = f"is a {kind}" if kind in ("pipe", "folder") else "does not exist; it is a link "
        assert any(message.startswith(f"{path}: {problem}") for message in messages(root))

    @pytest.mark.parametrize("name", ["imagesTr", "imagesTs", "labelsTr", "labelsTs", "labelsTr_ann", "labelsTr_clean"])
    @pytest.mark.parametrize("kind", ["dangling", "loop", "pipe"])
    def test_what_is_no_folder_is_not_absent(self, make_folder, name, kind):
        root = make_folder(test_cases=("t",), raters=("ann", "clean"))
        path = root / name
        shutil.rmtree(path)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name if kind == "loop" else "gone")
        problem = "is not a folder, but a pipe" if kind == "pipe" else "does not exist; it is a link "
        assert any(message.startswith(f"{path}: {problem}") for message in messages(root))

    @pytest.mark.parametrize("name", ["", "imagesTr", "imagesTs", "labelsTr", "labelsTs", "labelsTr_ann"])
    def test_folders_that_may_not_be_read_are_not_absent(self, make_folder, monkeypatch, name):
        root = make_folder(test_cases=("t",), raters=("ann",))
        closed, may = root / name, os.access
        monkeypatch.setattr(os, "access", lambda path, mode: path != closed and may(path, mode))
        assert f"{closed}: may not be read by you. Ask its owner" in messages(root)[0]

    def test_a_label_that_no_case_uses_is_an_error(self, make_folder):
        root = make_folder(test_cases=("t",), raters=("ann", "clean"))
        for name in ("labelsTr/case_9", "labelsTr/t", "labelsTs/case_1", "labelsTr_ann/x", "labelsTr_clean/y"):
            (root / f"{name}.nii.gz").touch()
        assert [message.removeprefix(f"{root}/").split(".")[0] for message in messages(root)] == [
            "labelsTr/case_9",
            "labelsTr/t",
            "labelsTs/case_1",
            "labelsTr_ann/x",
            "labelsTr_clean/y",
        ]

    def test_labels_of_test_cases_without_scans(self, make_folder):
        root = make_folder(test_cases=("t", "u"))
        shutil.rmtree(root / "imagesTs")
        (message,) = messages(root)
        assert "imagesTs: holds no images, but labelsTs holds labels" in message

    def test_test_cases_without_labels(self, make_folder):
        root = make_folder(test_cases=("t",))
        shutil.rmtree(root / "labelsTs")
        assert [case.quality for case in DataFolder.open(root).select(Split.TEST)] == [Quality.NONE]

    def test_names_are_compared_in_one_unicode_form(self, make_folder):
        composed, decomposed = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
        root = make_folder(cases=(decomposed,), raters=("José",), table=f"case,annotator\n{composed},José\n")
        (root / "labelsTr_José").rename(root / unicodedata.normalize("NFD", "labelsTr_José"))
        (case,) = DataFolder.open(root).cases
        assert case.name == composed
        assert case.label
        assert case.label.is_file()
        assert case.annotator == "José"

    @pytest.mark.parametrize("name", ["Cases.csv", "cases.CSV", "cases.csv.txt", "cases.xlsx", "cases.tsv", "case.csv"])
    def test_a_table_that_would_not_be_read(self, make_folder, name):
        root = make_folder()
        (root / name).write_text("case,quality\ncase_1,expert\n")
        (message,) = messages(root)
        assert f"{name}: is not read, as the table of cases is cases.csv" in message
        (root / "cases.csv").write_text("case\n")
        assert messages(root) == []

    def test_a_test_case_whose_name_differs_in_capitals_from_that_of_a_training_case(self, make_folder):
        root = make_folder(test_cases=("Case_2",))
        (message,) = messages(root)
        assert "imagesTs/Case_2_0000.nii.gz: has the name of the training case 'case_2'" in message

    def test_the_description_is_kept_as_it_was_read(self, make_folder):
        root = make_folder()
        content = (root / "dataset.json").read_bytes()
        folder = DataFolder.open(root)
        (root / "dataset.json").unlink()
        assert folder.description == content


class TestTruth:
    """The true labels of a corrupted folder are for judging: no table, remark or rater leads to them."""

    @pytest.mark.parametrize("annotator", ["clean", "Clean", "CLEAN"])
    @pytest.mark.parametrize("corrupted", [True, False])
    def test_is_no_annotator(self, make_folder, annotator, corrupted):
        table = f"case,annotator\ncase_1,{annotator}\n"
        root = make_folder(raters=("clean",) if corrupted else (), table=table)
        (message,) = messages(root)
        assert f"line 2: annotator is '{annotator}', but labelsTr_{annotator} is for the true labels" in message

    def test_is_not_offered(self, make_folder):
        root = make_folder(raters=("clean",), unlabelled=())
        (root / "labelsTr" / "case_2.nii.gz").unlink()
        folder = DataFolder.open(root)
        assert list(unused_raters(folder)) == []
        assert list(find_raters(folder)) == ["labelsTr"]
        assert all("clean" not in str(case.label) for case in folder.cases)


class TestDescription:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"file_ending": None}, "file_ending is None. Give one of .nii.gz, .nii, .mha"),
            ({"file_ending": ".jpg"}, "file_ending is '.jpg'. Give one of .nii.gz, .nii, .mha"),
            ({"file_ending": [".nii"]}, "file_ending is ['.nii']. Give one of"),
            ({"channel_names": None}, "has no usable channel_names. Write for example"),
            ({"channel_names": {}}, "has no usable channel_names"),
            ({"channel_names": ["CT"]}, "has no usable channel_names"),
            ({"channel_names": {"CT": 0}}, "has no usable channel_names"),
            ({"channel_names": {"²": "CT"}}, "has no usable channel_names"),
            ({"labels": None}, "has no labels. Write for example"),
            ({"labels": ["organ"]}, "has no labels"),
            ({"labels": {"background": 0}}, "Give background = 0 and 1 to 253 classes more"),
            ({"labels": {"a": 1, "b": 2}}, "Give background = 0 and 1 to 253 classes more"),
            ({"labels": {f"class {i}": i for i in range(255)}}, "Give background = 0 and 1 to 253 classes more"),
            ({"labels": {"background": 0, "a": 1, "b": 1}}, "two labels share a value"),
            ({"labels": {"background": 0, "a": 1, "ignore": 1}}, "two labels share a value"),
            ({"labels": {"background": 0, "whole": [1, "x"]}}, "labels must map names to whole numbers"),
            ({"labels": {"background": 0, "a": "1"}}, "labels must map names to whole numbers"),
            ({"labels": {"background": 0, "a": 1.5}}, "labels must map names to whole numbers"),
            ({"labels": {"background": 0, "a": True}}, "labels must map names to whole numbers"),
            ({"labels": {"background": 0, "a": -1}}, "labels must map names to whole numbers"),
            ({"labels": {"background": 0, "a": 65536}}, "labels must map names to whole numbers"),
            ({"labels": {"0": "background", "1": "a", "2": "a"}}, "two labels share a name"),
            ({"labels": {"0": "background", "1": ["organ"]}}, "class is ['organ'], which is not a name"),
            ({"labels": {"0": "background", "1": {}}}, "class is {}, which is not a name"),
            ({"labels": {"0": "background", "1": 1}}, "class is 1, which is not a name"),
            ({"labels": {"0": "background", "9" * 5000: "organ"}}, "labels must map names to whole numbers"),
            ({"labels": {"background": 0, "organ": 1.0}}, "labels must map names to whole numbers"),
            ({"labels": {"background": 0, "": 1}}, "class '' is empty"),
            ({"labels": {"background": 0, "a\0b": 1}}, "holds the character U+0000"),
            ({"labels": {"background": 0, "\ud800": 1}}, "holds the character U+D800"),
            ({"labels": {"background": 0, "x" * 5000: 1}}, "has 5000 bytes"),
            ({"labels": {"background": 0, "Organ": 1, "organ": 2}}, "differ in capitals or Unicode form only"),
            ({"labels": {"background": 0, "organ": 1, "Ignore": 2}}, "a class is called 'Ignore'. Write 'ignore'"),
            ({"channel_names": {"5": "MR"}}, "channel_names are numbered 5. Number them 0, 1, 2"),
            ({"channel_names": {"0": "MR", "2": "CT"}}, "channel_names are numbered 0, 2"),
            ({"channel_names": {"0": "MR", "00": "CT"}}, "channel_names are numbered 0, 0"),
            ({"channel_names": {"9" * 5000: "MR"}}, "has no usable channel_names"),
            ({"channel_names": {"0": {"name": "MR"}}}, "channel is {'name': 'MR'}, which is not a name"),
            ({"channel_names": {"0": ""}}, "channel '' is empty"),
            ({"channel_names": {"0": 3}}, "channel is 3, which is not a name"),
            ({"channel_names": {"0": "\udfff"}}, "holds the character U+DFFF"),
            ({"name": ["x"]}, "name is ['x'], which is not a name"),
            ({"name": "x" * 5000}, "name 'xxx"),
            ({"file_ending": True}, "file_ending is True"),
        ],
    )
    def test_what_is_wrong_is_said(self, make_folder, changes, message):
        root = make_folder()
        describe(root, **changes)
        (found,) = messages(root)
        assert found.startswith(f"{root / 'dataset.json'}: ")
        assert message in found

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000])
    def test_not_json(self, make_folder, content):
        root = make_folder()
        (root / "dataset.json").write_bytes(content)
        (found,) = messages(root)
        assert "dataset.json: is not valid JSON (" in found
        assert found.endswith("Correct it.")

    def test_not_an_object(self, make_folder):
        root = make_folder()
        (root / "dataset.json").write_text("[1, 2]")
        assert "is not a JSON object. Write {channel_names" in messages(root)[0]

    def test_a_byte_order_mark_is_no_problem(self, make_folder):
        root = make_folder()
        (root / "dataset.json").write_text("\ufeff" + (root / "dataset.json").read_text(), encoding="utf-8")
        assert messages(root) == []

    def test_the_decathlon_form(self, make_folder):
        root = make_folder(channels=("T2", "ADC"))
        labels = {"0": "background", "2": "TZ", "1": "PZ"}
        describe(root, channel_names=None, modality={"1": "ADC", "0": "T2"}, labels=labels, name="Prostate")
        folder = DataFolder.open(root)
        assert folder.name == "Prostate"
        assert folder.channel_names == ("T2", "ADC")
        assert list(folder.labels.items()) == [("background", 0), ("PZ", 1), ("TZ", 2)]

    def test_the_ignored_value_is_no_class(self, make_folder):
        root = make_folder(labels={"background": 0, "ignore": 9, "organ": 4})
        folder = DataFolder.open(root)
        assert folder.labels == {"background": 0, "organ": 4}
        assert folder.ignore == 9
        np.testing.assert_array_equal(folder.to_indices(np.array([0, 4, 9, 5])), [0, 1, IGNORE, IGNORE])
        np.testing.assert_array_equal(folder.to_values(np.array([0, 1, IGNORE])), [0, 4, 9])

    def test_a_class_may_have_the_value_255(self, make_folder):
        folder = DataFolder.open(make_folder(labels={"background": 0, "organ": 255}))
        np.testing.assert_array_equal(folder.to_indices(np.array([0, 255, 1], dtype=np.uint8)), [0, 1, IGNORE])
        np.testing.assert_array_equal(folder.to_values(np.array([1, 0], dtype=np.uint8)), [255, 0])

    @given(
        values=st.sets(st.integers(1, 65535), min_size=2, max_size=40).map(list),
        picks=st.lists(st.integers(0, 1000), min_size=1, max_size=30),
    )
    def test_values_and_indices_are_inverse(self, tmp_path, values, picks):
        ignore, *classes = values
        labels = {"background": 0} | {f"class {value}": value for value in classes}
        folder = DataFolder(tmp_path, "any", ("CT",), labels, ignore, ".nii", ())
        raw = np.array([[0, *values][pick % (len(values) + 1)] for pick in picks])
        indices = folder.to_indices(raw)
        assert indices.dtype == np.uint8
        assert ((indices == IGNORE) == (raw == ignore)).all()
        np.testing.assert_array_equal(folder.to_values(indices), raw)


class TestTable:
    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("case,splt\ncase_1,val\n", "cases.csv: has an unknown column 'splt'. Did you mean split?"),
            ("name,split\ncase_1,val\n", "cases.csv: has no column 'case'. Its columns are case, split, quality"),
            ("", "cases.csv: has no column 'case'"),
            ("case\ncase_4\n", "cases.csv line 2: case 'case_4' has no image. Did you mean case_"),
            ("case\nliver\n", "cases.csv line 2: case 'liver' has no image. Known are case_1, case_2, case_3"),
            ("case\ncase_1\n\ncase_1\n", "cases.csv line 4: case 'case_1' stands there twice. Keep one line"),
            ("case,split\ncase_1,valid\n", "cases.csv line 2: split is 'valid'. Did you mean val?"),
            ("case,quality\ncase_1,exprt\n", "cases.csv line 2: quality is 'exprt'. Did you mean expert?"),
            (
                "case,quality\ncase_3,noisy\n",
                "line 2: quality is 'noisy', but there is no label. Add the label, or write",
            ),
            ("case,annotator\ncase_3,ann\n", "line 2: annotator 'ann' drew no label "),
            ("case,annotator\ncase_1,a/../../victim\n", "line 2: annotator 'a/../../victim' cannot be the name of a"),
            ("case,annotator\ncase_1,..\n", "line 2: annotator '..' cannot be the name of a folder"),
            ("case,annotator\ncase_1,a\\b\n", "cannot be the name of a folder"),
            ("case,annotator\ncase_1," + "x" * 5000 + "\n", "has 5000 bytes"),
            ("case,annotator\ncase_1,Ann\n", "annotator is 'Ann', but the folder is called labelsTr_ann. Write 'ann'"),
            ("case,split\n,val\n", "cases.csv line 2: names no case"),
            ("case,split\nCASE_1,val\n", "line 2: case 'CASE_1' has no image. Did you mean case_1?"),
            ("case,split\ncase_1.nii.gz,val\n", "case 'case_1.nii.gz' has no image. Did you mean case_1?"),
            ("case,split\ncase_1,val,expert\n", "line 2: has more cells than there are columns. Quote cells"),
        ],
    )
    def test_what_is_wrong_is_said(self, make_folder, table, message):
        root = make_folder(table=table, unlabelled=("case_3",), raters=("ann",))
        assert any(message in found for found in messages(root))

    def test_as_spreadsheets_write_it(self, make_folder):
        table = "\ufeffCase; Split ;QUALITY;;\r\ncase_1;Val; Expert ;;\r\n;;;;\r\ncase_2;TRAIN;None;;\r\n"
        first, second, _ = DataFolder.open(make_folder(table=table)).cases
        assert (first.split, first.quality) == (Split.VAL, Quality.EXPERT)
        assert (second.split, second.quality) == (Split.TRAIN, Quality.NONE)

    def test_every_wrong_line_is_found(self, make_folder):
        root = make_folder(table="case,split,colour\ncase_1,vall,red\ncase_9,val,red\ncase_3,tset,red\n")
        assert [message.split(": ")[0].rsplit("/")[-1] for message in messages(root)] == [
            "cases.csv",
            "cases.csv line 2",
            "cases.csv line 3",
            "cases.csv line 4",
        ]

    def test_not_utf_8(self, make_folder):
        root = make_folder()
        (root / "cases.csv").write_bytes("case,domain\ncase_1,Köln\n".encode("latin-1"))
        (message,) = messages(root)
        assert "cases.csv: cannot be read as a table (" in message
        assert message.endswith("Save it as UTF-8 CSV.")

    def test_a_table_that_is_not_there(self, make_folder, tmp_path):
        (message,) = messages(make_folder(), tmp_path / "mine.csv")
        assert message == f"{tmp_path / 'mine.csv'}: does not exist. Give a table with a column 'case'."


WORDS = st.sampled_from(
    ["case", "split", "quality", "annotator", "case_1", "val", "expert", "none", "", '"', "\n", ",", "\0"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-2, 300) | st.text(string.printable, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("012²ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


class TestGarbage:
    """Whatever the two files of text hold, there are problems or there are cases, and never another error."""

    @pytest.fixture
    def root(self, make_folder):
        return make_folder(cases=("case_1",), shape=(4, 4), ending=".png")

    @staticmethod
    def read(root):
        folder, problems = read_folder(root)
        assert problems or (folder and folder.cases)

    @given(content=st.binary(max_size=200))
    def test_random_bytes_as_description(self, root, content):
        (root / "dataset.json").write_bytes(content)
        with pytest.raises(InputError, match=r"dataset\.json"):
            DataFolder.open(root)

    @given(channels=JSON, labels=JSON, ending=JSON | st.just(".png"))
    @example(channels={"0": "CT"}, labels={"²": "organ", "0": "background"}, ending=".png")
    def test_random_json_as_description(self, root, channels, labels, ending):
        describe(root, channel_names=channels, labels=labels, file_ending=ending)
        self.read(root)

    @given(content=st.binary(max_size=200) | st.lists(WORDS).map(lambda words: ",".join(words).encode()))
    @example(content=b"case,case\ncase_1,case_1")
    @example(content=b"case\n\0\n")
    @example(content=b"case\n" + b"x" * 200_000)
    def test_random_tables(self, root, content):
        (root / "cases.csv").write_bytes(content)
        self.read(root)
