from __future__ import annotations

import json
from functools import partial

import pytest
from refusals import raises

from segmend.data import cache as cache_module
from segmend.data.folder import DataFolder
from segmend.engine.options import TrainingOptions
from segmend.engine.preparation import dimensions_of, prepare_training
from segmend.engine.run import Run
from segmend.methods import PLIL, OffsetCorrection, Supervised
from segmend.networks import UNet

TINY = partial(UNet, width=2, stages=2)
SHORT = TrainingOptions(iterations=4, patch=(16, 16, 16), precision="32")


@pytest.fixture
def prepared(make_folder, tmp_path):
    def call(options=SHORT, method=Supervised, **of_folder):
        folder = DataFolder.open(make_folder(**of_folder))
        return prepare_training(folder, options, method=method, network=TINY, run=Run(tmp_path / "run"))

    return call


class TestChecks:
    def test_nothing_is_read_or_written(self, prepared, monkeypatch, tmp_path):
        def load(case, folder):
            raise AssertionError("no scan is opened")

        monkeypatch.setattr(cache_module, "load_case", load)
        monkeypatch.setattr("segmend.data.fingerprint.load_case", load)
        before = sorted(tmp_path.rglob("*"))
        setup = prepared()
        assert sorted(path for path in tmp_path.rglob("*") if "data" not in path.parts[-3:]) >= before
        assert not (tmp_path / "run").exists()
        assert setup.dimensions == 3
        assert not setup.slices

    def test_slices_of_volumes(self, prepared):
        setup = prepared(TrainingOptions(dimensions=2, patch=(16, 16)))
        assert setup.dimensions == 2
        assert setup.slices

    def test_the_recommended_method_is_taken_if_none_is_named(self, prepared):
        table = "case,split,quality\ncase_1,train,expert\ncase_2,train,noisy\n"
        assert isinstance(prepared(method=None, table=table).method, OffsetCorrection)

    def test_a_batch_that_the_cases_cannot_fill(self, prepared):
        table = "case,split,quality\ncase_1,train,noisy\ncase_2,train,noisy\ncase_3,train,noisy\n"
        with raises("no-data", "method PLIL", match="expert"):
            prepared(method=PLIL, table=table)

    def test_no_training_case(self, prepared):
        table = "case,split\ncase_1,test\ncase_2,test\ncase_3,test\n"
        with raises("no-data", match="has no training case"):
            prepared(table=table)

    def test_three_dimensions_of_pictures(self, prepared):
        with raises("mismatch", "dimensions", match="2.*got 3"):
            prepared(TrainingOptions(dimensions=3), shape=(20, 20), ending=".png")


class TestPlanned:
    def test_a_class_that_hardly_any_label_holds_is_named(self, make_folder, tmp_path, capsys):
        root = make_folder()
        description = json.loads((root / "dataset.json").read_text())
        description["labels"]["lesion"] = 2
        (root / "dataset.json").write_text(json.dumps(description))
        folder = DataFolder.open(root)
        prepare_training(folder, TrainingOptions(width=2), method=Supervised, run=Run(tmp_path / "run"))
        said = capsys.readouterr().err
        assert "warning: 'lesion' occurs in 0 of 3 training cases" in said
        assert "'organ' occurs" not in said


class TestConfiguration:
    def test_holds_all_that_decides(self, prepared, tmp_path):
        config = prepared().config
        assert config["iterations"] == 4
        assert config["method"]["class_path"] == "Supervised"
        assert config["network"]["init_args"]["width"] == 2
        assert config["augmentation"]["flips"] in (True, False)
        assert config["out"] == str((tmp_path / "run").resolve())

    def test_another_table_is_named(self, make_folder, tmp_path):
        root, table = make_folder(), tmp_path / "cases.csv"
        table.write_text("case,split,quality\ncase_1,train,expert\n")
        folder = DataFolder.open(root, table)
        setup = prepare_training(folder, SHORT, method=Supervised, network=TINY, run=Run(tmp_path / "run"))
        assert setup.config["cases"] == str(table.resolve())


class TestPrepare:
    def test_gives_the_cases_on_the_training_grid(self, prepared, tmp_path, capsys):
        training = prepared().prepare(tmp_path / "cache")
        assert training.task.patch == (16, 16, 16)
        assert {case.image.ndim for case in training.cases} == {4}
        said = capsys.readouterr().err
        assert "Supervised with UNet" in said
        assert "4 steps" in said

    def test_a_patch_is_chosen_if_none_is_given(self, prepared, tmp_path):
        training = prepared(TrainingOptions(iterations=1)).prepare(tmp_path / "cache")
        assert len(training.task.patch) == 3


def test_dimensions_of_scans(make_folder):
    assert dimensions_of(DataFolder.open(make_folder()).cases) == 3
