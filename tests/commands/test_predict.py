from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import entr

import segmend
from segmend.cli import main
from segmend.data.image import read_image, read_label
from segmend.data.maps import MapNames
from segmend.data.preprocess import Normalisation, Preprocessing
from segmend.engine.run import Run, Task, configuration_of
from segmend.engine.segmenter import Segmenter
from segmend.methods import Supervised

pytestmark = pytest.mark.usefixtures("cpu_only")

predict_module = importlib.import_module("segmend.commands.predict")

OBLIQUE = np.array([[0.9, -0.3, 0.1, -20], [0.3, 1.1, 0.2, 35], [-0.1, -0.2, 2.4, 7], [0, 0, 0, 1.0]])


PLUGIN = """
import time
import torch
from segmend.networks import Network

class Threshold(Network):
    'Calls everything above 100 in the first channel organ, and above 200 vessel.'

    def __init__(self, in_channels: int, classes: int, dimensions: int = 3, *, seconds: float = 0.0) -> None:
        super().__init__()
        self.classes, self.seconds = classes, seconds
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, image):
        time.sleep(self.seconds)
        image = image[:, :1]
        above = [2**level * (image - 100 * (level + 1)) for level in range(self.classes - 1)]
        return self.scale * torch.cat([0 * image, *above], 1)
"""
"""A network in a package of the user's own."""

AS_IT_IS = Normalisation(mean=0, sd=1)


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Writes a run whose network knows the answer."""

    def make(
        patch=(8, 8, 8),
        spacing=None,
        labels=("background", "organ"),
        channels=("MR",),
        dimensions=3,
        normalisation=AS_IT_IS,
        foreground_only=False,
        **arguments,
    ):
        scan_axes = len(spacing) if spacing else len(patch)
        rules = (normalisation,) * len(channels)
        preprocessing = Preprocessing(spacing or (None,) * scan_axes, rules, foreground_only)
        values = {name: value for name, value in zip(labels, (0, 7, 300), strict=False)}
        task = Task(tuple(channels), values, dimensions, patch, preprocessing, "")
        (tmp_path / "plugin").mkdir()
        (tmp_path / "plugin" / "of_the_user.py").write_text(PLUGIN)
        monkeypatch.syspath_prepend(str(tmp_path / "plugin"))
        network = importlib.import_module("of_the_user").Threshold(len(channels), len(labels), dimensions, **arguments)
        method = Supervised(network)
        run = Run(tmp_path / "run")
        run.begin(configuration_of(method, network), task)
        run.last.parent.mkdir()
        state = {f"method.{name}": value for name, value in method.state_dict().items()}
        torch.save({"state_dict": state}, run.last)
        return run

    return make


@pytest.fixture
def images(tmp_path, write_scan):
    """A folder with one oblique scan of noise; what is above 100 is organ."""
    array = np.random.default_rng(0).uniform(1, 200, (13, 11, 9)).astype(np.float32)
    write_scan(tmp_path / "images" / "a_0000.nii.gz", array, OBLIQUE)
    return tmp_path / "images"


@pytest.fixture
def predict(tmp_path):
    def call(images, *arguments, status=0, out="out"):
        words = [
            "--run",
            tmp_path / "run",
            "--images",
            images,
            "--out",
            tmp_path / out,
            "--precision",
            "32",
            *arguments,
        ]
        assert main(["predict", *map(str, words)]) == status
        return tmp_path / out

    return call


@pytest.fixture
def refused(predict, tmp_path, capsys):
    def call(images, *arguments):
        predict(images, *arguments, status=1)
        assert not (tmp_path / "out").exists()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        return capsys.readouterr().err

    return call


def values_of(path):
    return read_label(path)[0]


class TestLabels:
    def test_lie_on_the_grid_and_header_of_the_scan(self, make_run, images, predict):
        scan = nibabel.load(images / "a_0000.nii.gz")
        scan.header.set_xyzt_units("mm", "sec")
        scan.header["descrip"] = b"scanned on a Monday"
        scan.set_sform(OBLIQUE, 1)
        scan.set_qform(OBLIQUE, 2, strip_shears=True)
        nibabel.save(scan, images / "a_0000.nii.gz")
        make_run()
        label = nibabel.load(predict(images) / "a.nii.gz")
        np.testing.assert_array_equal(label.get_fdata(), 7 * (scan.get_fdata() > 100))
        assert label.get_data_dtype() == np.uint8
        for name in ("descrip", "qform_code", "sform_code", "xyzt_units", "pixdim", "srow_x", "quatern_b"):
            np.testing.assert_array_equal(label.header[name], scan.header[name], err_msg=name)

    def test_after_resampling_too(self, make_run, images, predict, write_scan):
        index = np.moveaxis(np.indices((21, 24, 17)), 0, -1)
        ball = ((index - (12, 10, 8)) ** 2).sum(-1) < 25
        write_scan(images / "a_0000.nii.gz", np.where(ball, 180, 20).astype(np.float32), OBLIQUE)
        make_run(spacing=(1.6, 0.8, 1.7))
        label, grid = read_label(predict(images) / "a.nii.gz")
        np.testing.assert_allclose(grid.affine, OBLIQUE, atol=1e-4)
        assert set(np.unique(label)) == {0, 7}
        assert 2 * (ball & (label == 7)).sum() / (ball.sum() + (label == 7).sum()) > 0.9

    def test_values_above_255(self, make_run, images, predict, write_scan):
        make_run(labels=("background", "organ", "vessel"))
        array, _ = read_image(images / "a_0000.nii.gz")
        array = 2 * array + 100
        write_scan(images / "a_0000.nii.gz", array[0], OBLIQUE)
        # Logits are 0, x - 100 and 2 (x - 200), so vessel begins at 300 and organ at 100.
        np.testing.assert_array_equal(values_of(predict(images) / "a.nii.gz"), np.where(array[0] > 300, 300, 7))

    @pytest.mark.parametrize("ending", [".nii", ".mha", ".nrrd"])
    def test_keep_the_format(self, make_run, predict, tmp_path, write_scan, ending):
        array = np.random.default_rng(0).uniform(1, 200, (9, 8, 7)).astype(np.float32)
        turned = np.array([[0, -0.9, 0, 4], [1.1, 0, 0, -3], [0, 0, 2, 1], [0, 0, 0, 1.0]])
        write_scan(tmp_path / "images" / f"a_0000{ending}", array, turned)
        make_run()
        label, grid = read_label(predict(tmp_path / "images") / f"a{ending}")
        np.testing.assert_array_equal(label, 7 * (array > 100))
        np.testing.assert_allclose(grid.affine, turned, atol=1e-5)

    def test_a_scan_smaller_than_the_patch(self, make_run, predict, tmp_path, write_scan):
        array = np.array([[[150.0], [50.0]], [[20.0], [101.0]]], dtype=np.float32)
        write_scan(tmp_path / "images" / "tiny_0000.nii.gz", array, OBLIQUE)
        make_run(patch=(16, 16, 16))
        np.testing.assert_array_equal(values_of(predict(tmp_path / "images") / "tiny.nii.gz")[..., 0], [[7, 0], [0, 7]])

    def test_several_scans_with_several_channels(self, make_run, images, predict, write_scan):
        for name in ("a", "b_with_0001_in_it"):
            for channel in (0, 1):
                array = np.full((9, 9, 9), 150 if channel == 0 else 20, dtype=np.float32)
                write_scan(images / f"{name}_000{channel}.nii.gz", array, OBLIQUE)
        make_run(channels=("T1", "T2"))
        out = predict(images)
        assert sorted(path.name for path in out.iterdir()) == ["a.nii.gz", "b_with_0001_in_it.nii.gz"]
        assert (values_of(out / "b_with_0001_in_it.nii.gz") == 7).all()

    def test_from_python_their_paths_come_back(self, make_run, images, tmp_path):
        run = make_run()
        written = segmend.predict(run=run.path, images=images, out=tmp_path / "out", precision="32")
        assert written == [tmp_path / "out" / "a.nii.gz"]

    def test_the_scans_are_not_touched(self, make_run, images, predict, contents):
        run, before = make_run(), contents(images)
        of_run = contents(run.path)
        predict(images, "--probabilities")
        assert contents(images) == before
        assert contents(run.path) == of_run


class TestProbabilities:
    @pytest.mark.parametrize("value", [["true"], []])
    def test_one_map_for_each_class(self, make_run, images, predict, value):
        make_run(labels=("background", "organ", "vessel"), spacing=(1.0, 1.3, None))
        out = predict(images, "--probabilities", *value)
        assert sorted(path.name for path in out.iterdir()) == ["a.nii.gz", "probabilities"]
        names = ["a_background.nii.gz", "a_organ.nii.gz", "a_vessel.nii.gz"]
        assert sorted(path.name for path in (out / "probabilities").iterdir()) == names
        maps = [nibabel.load(out / "probabilities" / name) for name in names]
        values = np.stack([np.asarray(each.dataobj) for each in maps])
        assert values.dtype == np.float32
        np.testing.assert_allclose(values.sum(0), 1, atol=1e-5)
        assert values.min() >= 0
        np.testing.assert_allclose(maps[0].affine, OBLIQUE, atol=1e-4)
        label = values_of(out / "a.nii.gz")
        np.testing.assert_array_equal(label, np.array([0, 7, 300])[values.argmax(0)])

    def test_names_that_would_share_a_file_have_files_of_their_own(self, make_run, images, predict):
        labels = ("background", "kidney", "left_kidney")
        make_run(labels=labels)
        shutil.copy(images / "a_0000.nii.gz", images / "a_left_0000.nii.gz")
        out = predict(images, "--probabilities")
        assert len(list((out / "probabilities").iterdir())) == 6
        names = MapNames(("a", "a_left"), labels)
        for case in names.cases:
            maps = [nibabel.load(out / "probabilities" / names.name(case, label)).dataobj for label in labels]
            np.testing.assert_allclose(np.stack([np.asarray(each) for each in maps]).sum(0), 1, atol=1e-5)

    def test_cases_that_differ_in_capitals_only_are_refused(self, make_run, images, refused):
        make_run()
        shutil.copy(images / "a_0000.nii.gz", images / "A_0000.nii.gz")
        assert re.search("differ in capitals|need maps of one file name", refused(images, "--probabilities"))

    @pytest.mark.parametrize("shape", [(13, 11, 9), (13, 11, 1), (1, 11, 9), (1, 1, 1)])
    @pytest.mark.parametrize("value", [0, 7, 3e38])
    def test_scans_without_content(self, make_run, images, predict, write_scan, shape, value):
        write_scan(images / "a_0000.nii.gz", np.full(shape, value, dtype=np.float32), OBLIQUE)
        run = make_run(normalisation=Normalisation(), foreground_only=True)
        assert run.task.preprocessing.foreground_only
        out = predict(images, "--probabilities")
        maps = [nibabel.load(path).get_fdata() for path in sorted((out / "probabilities").iterdir())]
        np.testing.assert_allclose(sum(maps), 1, atol=1e-5)
        assert not values_of(out / "a.nii.gz").any()

    @pytest.mark.parametrize(
        ("scale", "problem"),
        [(torch.nan, "are not finite"), (3e38, "network: predicts values that are not numbers")],
    )
    def test_a_network_that_gives_no_numbers(self, make_run, images, refused, scale, problem):
        run = make_run()
        state = torch.load(run.last)["state_dict"]
        torch.save({"state_dict": {name: torch.full_like(value, scale) for name, value in state.items()}}, run.last)
        assert problem in refused(images)

    def test_not_without_being_asked(self, make_run, images, predict):
        make_run()
        assert [path.name for path in predict(images, "--probabilities", "false").iterdir()] == ["a.nii.gz"]


class TestUncertainty:
    def test_map_and_table_by_hand(self, make_run, images, predict):
        make_run()
        out = predict(images, "--uncertainty", "true")
        assert sorted(path.name for path in out.iterdir()) == ["a.nii.gz", "quality.csv", "uncertainty"]
        scan = nibabel.load(images / "a_0000.nii.gz")
        p = 1 / (1 + np.exp(100 - scan.get_fdata()))
        found = nibabel.load(out / "uncertainty" / "a.nii.gz")
        assert found.get_data_dtype() == np.float32
        np.testing.assert_allclose(found.affine, scan.affine, atol=1e-5)
        expected = (entr(p) + entr(1 - p)) / np.log(2)
        np.testing.assert_allclose(found.get_fdata(), expected, atol=1e-4)
        (row,) = pd.read_csv(out / "quality.csv").itertuples()
        mask = p > 0.5
        assert (row.case, row.label) == ("a", "organ")
        assert row.expected_dice == pytest.approx(2 * p[mask].sum() / (mask.sum() + p.sum()), abs=1e-5)
        assert row.mean_entropy == pytest.approx(expected[mask].mean(), rel=1e-3)
        assert row.volume / mask.sum() == pytest.approx(row.expected_volume / p.sum(), rel=1e-4)
        assert row.volume == pytest.approx(mask.sum() * np.prod(np.linalg.norm(OBLIQUE[:3, :3], axis=0)), rel=1e-3)

    def test_labels_and_probabilities_are_those_without_it(self, make_run, images, predict):
        make_run(labels=("background", "organ", "vessel"), spacing=(1.0, 1.3, None))
        plain, judged = (
            predict(images, "--probabilities", *words, out=out)
            for words, out in (([], "plain"), (["--uncertainty"], "judged"))
        )
        names = ["a.nii.gz", *(f"probabilities/a_{label}.nii.gz" for label in ("background", "organ", "vessel"))]
        for name in names:
            assert (plain / name).read_bytes() == (judged / name).read_bytes()

    def test_is_whole_after_a_scan_that_could_not_be_read_at_first(self, make_run, images, predict, write_scan):
        make_run()
        for name, value in (("b", np.nan), ("c", 150)):
            write_scan(images / f"{name}_0000.nii.gz", np.full((9, 9, 9), value, np.float32), OBLIQUE)
        out = predict(images, "--uncertainty", status=1)
        assert list(pd.read_csv(out / "quality.csv")["case"]) == ["a", "c"]
        write_scan(images / "b_0000.nii.gz", np.full((9, 9, 9), 120, np.float32), OBLIQUE)
        predict(images, "--uncertainty")
        assert list(pd.read_csv(out / "quality.csv")["case"]) == ["a", "b", "c"]
        assert not (out / "finished.jsonl").exists()
        assert len(list((out / "uncertainty").iterdir())) == 3

    def test_predictions_with_it_are_evaluated_as_others(self, make_run, images, predict, tmp_path):
        make_run()
        out = predict(images, "--uncertainty")
        (tmp_path / "references").mkdir()
        shutil.copy(out / "a.nii.gz", tmp_path / "references" / "a.nii.gz")
        (tmp_path / "references" / "dataset.json").write_text('{"labels": {"background": 0, "organ": 7}}')
        table = segmend.evaluate(predictions=out, references=tmp_path / "references", out=tmp_path / "table.csv")
        assert list(table["dice"]) == [1]


class TestArguments:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["--stride", 3, 3, 2],
            ["--overlap", 0],
            ["--flips"],
            ["--weighting", "uniform"],
            ["--batch", 3],
            ["--stride", 99, 8, 8],
        ],
    )
    def test_windows_do_not_change_what_every_window_agrees_on(self, make_run, images, predict, arguments):
        make_run()
        array, _ = read_image(images / "a_0000.nii.gz")
        np.testing.assert_array_equal(values_of(predict(images, *arguments) / "a.nii.gz"), 7 * (array[0] > 100))

    def test_the_largest_component(self, make_run, images, predict, write_scan):
        array = np.full((13, 11, 9), 50, dtype=np.float32)
        array[1:6, 1:6, 1:6], array[9:11, 8:10, 2:4] = 150, 150
        write_scan(images / "a_0000.nii.gz", array, OBLIQUE)
        make_run()
        assert (values_of(predict(images, out="all") / "a.nii.gz") > 0).sum() == 133
        label = values_of(predict(images, "--largest_component") / "a.nii.gz")
        assert (label > 0).sum() == 125
        assert label[3, 3, 3] == 7

    def test_the_best_checkpoint(self, make_run, images, predict):
        run = make_run()
        state = {"method.network.scale": torch.tensor(-1.0)}
        torch.save({"state_dict": state}, run.best)
        array, _ = read_image(images / "a_0000.nii.gz")
        label = values_of(predict(images, "--checkpoint", "best") / "a.nii.gz")
        np.testing.assert_array_equal(label, 7 * (array[0] < 100))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--stride", 4, 4], "--stride: is [4, 4]. Give 3 numbers."),
            (["--stride", 4], "--stride: is [4]. Give 3 numbers."),
            (["--stride", 4, 4, 0], "stride: is (4, 4, 0) for windows of (8, 8, 8). Give 1 up to"),
            (["--overlap", 1], "--overlap: is 1.0. Give a share from 0 to below 1."),
            (["--overlap", -0.1], "--overlap: is -0.1. Give a share"),
            (["--batch", 0], "batch: is 0. Give 1 or more."),
            (
                ["--checkpoint", "best"],
                "best.ckpt: does not exist. The run has no validation split; take --checkpoint last.",
            ),
        ],
    )
    def test_that_cannot_be_used(self, make_run, images, refused, arguments, message):
        make_run()
        assert message in refused(images, *arguments)


class TestErrors:
    def test_an_out_folder_that_holds_something(self, make_run, images, predict, tmp_path, capsys):
        make_run()
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "precious").touch()
        predict(images, status=1)
        assert "out: already holds something. Choose another folder" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]

    def test_an_empty_out_folder_is_taken(self, make_run, images, predict, tmp_path):
        make_run()
        (tmp_path / "out").mkdir()
        assert [path.name for path in predict(images).iterdir()] == ["a.nii.gz"]

    def test_not_a_run(self, images, refused):
        message = "run: is not a run folder: it has no task.json. Give the folder that 'segmend train' wrote."
        assert message in refused(images)

    def test_a_run_without_a_checkpoint(self, make_run, images, refused):
        make_run().last.unlink()
        assert "last.ckpt: does not exist. Let the run write its first checkpoint." in refused(images)

    def test_no_images(self, make_run, refused, tmp_path):
        make_run()
        assert "nowhere: is not a folder" in refused(tmp_path / "nowhere")
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "notes.txt").touch()
        assert "empty: holds no images" in refused(tmp_path / "empty")

    def test_what_is_no_plain_file_is_not_left_out(self, make_run, images, refused):
        make_run()
        (images / "b_0000.nii.gz").symlink_to("../.git/annex/b")
        assert "b_0000.nii.gz: does not exist; it is a link to ../.git/annex/b" in refused(images)
        (images / "b_0000.nii.gz").unlink()
        (images / "b_0000.nii.gz").mkdir()
        assert "b_0000.nii.gz: is a folder, but a file is expected there" in refused(images)

    def test_images_are_found_as_in_a_data_folder(self, make_run, images, refused):
        make_run()
        for name, problem in (("b.nii.gz", "is not named CASE_0000"), ("site/b_0000.nii.gz", "lies in a sub-folder")):
            (images / name).parent.mkdir(exist_ok=True)
            (images / name).touch()
            assert f"{name}: {problem}" in refused(images)
            (images / name).unlink()

    def test_too_few_files(self, make_run, images, refused):
        make_run(channels=("T1", "T2"))
        assert "a_0000.nii.gz: has 1 channels, but the run wants T1, T2." in refused(images)

    def test_too_many_files(self, make_run, images, refused, write_scan):
        make_run()
        write_scan(images / "a_0001.nii.gz", np.ones((13, 11, 9), dtype=np.float32), OBLIQUE)
        message = refused(images)
        assert f"{images}/a: has the files ['a_0000.nii.gz', 'a_0001.nii.gz']. The run wants _0000." in message

    def test_files_that_are_not_numbered(self, make_run, refused, tmp_path, write_scan):
        make_run()
        write_scan(tmp_path / "images" / "brain.nii.gz", np.ones((8, 8, 8), dtype=np.float32))
        assert "brain.nii.gz" in refused(tmp_path / "images")

    def test_channels_that_do_not_lie_over_each_other(self, make_run, images, refused, write_scan):
        make_run(channels=("T1", "T2"))
        write_scan(images / "a_0001.nii.gz", np.ones((13, 11, 9), dtype=np.float32), np.eye(4))
        assert "a_0001.nii.gz: does not lie over a_0000.nii.gz. Resample it to the same grid." in refused(images)

    def test_a_picture_for_a_run_on_volumes(self, make_run, refused, tmp_path, write_scan):
        make_run()
        write_scan(tmp_path / "images" / "a_0000.nii.gz", np.ones((8, 8), dtype=np.float32))
        assert "a_0000.nii.gz: is 2D, but the run was trained on 3D images" in refused(tmp_path / "images")

    def test_values_that_are_no_numbers(self, make_run, images, refused, write_scan):
        make_run()
        array = np.ones((13, 11, 9), dtype=np.float32)
        array[0, 0, 0] = np.nan
        write_scan(images / "a_0000.nii.gz", array)
        assert "a_0000.nii.gz: holds voxels that are NaN or infinite" in refused(images)

    def test_one_bad_scan_among_good_ones_leaves_nothing(self, make_run, images, refused):
        (images / "b_0000.nii.gz").write_bytes(b"damaged")
        make_run()
        assert "b_0000.nii.gz: cannot be read" in refused(images)

    def test_killed_it_leaves_no_folder(self, make_run, images, tmp_path):
        """So nobody takes half of the labels for all of them."""
        make_run(seconds=0.5)
        for number in range(30):
            (images / f"b{number}_0000.nii.gz").write_bytes((images / "a_0000.nii.gz").read_bytes())
        words = ["--run", tmp_path / "run", "--images", images, "--out", tmp_path / "out", "--overlap", "0"]
        path = os.pathsep.join([str(tmp_path / "plugin"), *sys.path])
        process = subprocess.Popen(
            [sys.executable, "-m", "segmend", "predict", *map(str, words)], env={**os.environ, "PYTHONPATH": path}
        )
        while process.poll() is None and not list(tmp_path.glob(".*.out/*.nii.gz")):
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "out").exists()


class TestContinue:
    """A class of its own for what is left when the command does not come to its end."""

    @pytest.fixture
    def many(self, images, write_scan):
        """Four scans more."""
        for number in range(1, 5):
            array = np.random.default_rng(number).uniform(1, 200, (13, 11, 9)).astype(np.float32)
            write_scan(images / f"b{number}_0000.nii.gz", array, OBLIQUE)
        return images

    @pytest.fixture
    def stopped_at(self, monkeypatch):
        """Sends a signal while the scan of some number is read; gives the names of all that are read."""

        def install(number, signal_number=signal.SIGTERM):
            read = []

            def reading(files, task):
                read.append(files[0].name.removesuffix("_0000.nii.gz"))
                if len(read) == number:
                    signal.raise_signal(signal_number)
                return real(files, task)

            monkeypatch.setattr(predict_module, "read_scan", reading)
            return read

        real = predict_module.read_scan
        return install

    def test_a_stopped_command_leaves_what_is_finished_in_sight_and_continues(
        self, make_run, many, predict, stopped_at, capsys, tmp_path, contents
    ):
        make_run()
        stopped_at(3)
        out = predict(many, "--probabilities", status=143)
        error = capsys.readouterr().err
        assert error.endswith(
            "stopped by SIGTERM; run the same command again to continue (2 of 5 scans are predicted)\n"
        )
        assert {path.name for path in out.iterdir()} == {
            *("a.nii.gz", "b1.nii.gz", "probabilities", "unfinished.txt", "finished.jsonl")
        }
        assert not [path for path in tmp_path.rglob(".*")]
        before = contents(out)["a.nii.gz"]
        read = stopped_at(0)
        predict(many, "--probabilities")
        assert read == ["b2", "b3", "b4"]
        assert contents(out)["a.nii.gz"] == before
        finished = contents(out)
        assert len(finished) == 5 + 1 + 10
        predict(many, "--probabilities", out="whole")
        assert {name: data for name, (data, _) in finished.items() if name != "probabilities"} == {
            name: data for name, (data, _) in contents(tmp_path / "whole").items() if name != "probabilities"
        }

    def test_other_arguments_do_not_continue_it(self, make_run, many, predict, stopped_at, capsys, contents):
        make_run()
        stopped_at(3)
        out = predict(many, status=143)
        before = contents(out)
        stopped_at(0)
        predict(many, "--flips", status=1)
        assert "holds what another command has begun and not finished" in capsys.readouterr().err
        assert contents(out) == before

    def test_scans_that_have_changed_are_predicted_again(self, make_run, many, predict, stopped_at, write_scan):
        make_run()
        stopped_at(4, signal.SIGINT)
        out = predict(many, status=130)
        write_scan(many / "b1_0000.nii.gz", np.full((13, 11, 9), 150, np.float32), OBLIQUE)
        (many / "a_0000.nii.gz").unlink()
        read = stopped_at(0)
        predict(many)
        assert read == ["b1", "b3", "b4"]
        assert sorted(path.name for path in out.iterdir()) == [f"b{number}.nii.gz" for number in range(1, 5)]
        assert (values_of(out / "b1.nii.gz") == 7).all()

    def test_it_is_not_evaluated_as_if_it_were_whole(self, make_run, many, predict, stopped_at, tmp_path, capsys):
        make_run()
        stopped_at(3)
        out = predict(many, status=143)
        words = ["--predictions", out, "--references", out, "--out", tmp_path / "scores.csv"]
        assert main(["evaluate", *map(str, words)]) == 1
        assert "is not complete: the command that writes it was stopped" in capsys.readouterr().err

    def test_all_bad_scans_are_named_before_any_work(self, make_run, many, refused, write_scan, monkeypatch):
        whole = (many / "b1_0000.nii.gz").read_bytes()
        (many / "b1_0000.nii.gz").write_bytes(whole[:-100])
        (many / "b3_0000.nii.gz").write_bytes(b"")
        write_scan(many / "b4_0000.nii.gz", np.ones((8, 8), np.float32))
        make_run()
        monkeypatch.setattr(Segmenter, "classes", lambda *_: pytest.fail("began"))
        message = refused(many)
        assert "has 3 scans that cannot be used. Repair them or take them out.\n" in message
        assert all(f"\n  {many}/b{number}_0000.nii.gz: " in message for number in (1, 3, 4))

    def test_a_scan_that_proves_bad_later_does_not_cost_the_others(
        self, make_run, many, predict, write_scan, capsys, contents
    ):
        array = np.full((13, 11, 9), 150, np.float32)
        array[0, 0, 0] = np.nan
        write_scan(many / "b2_0000.nii.gz", array, OBLIQUE)
        make_run()
        out = predict(many, status=1)
        message = capsys.readouterr().err
        assert (
            f"b2_0000.nii.gz: holds voxels that are NaN or infinite (the labels of the others are in {out})" in message
        )
        before = contents(out)
        assert {"a.nii.gz", "b1.nii.gz", "b3.nii.gz", "b4.nii.gz"} < set(before)
        write_scan(many / "b2_0000.nii.gz", np.full((13, 11, 9), 150, np.float32), OBLIQUE)
        predict(many)
        assert contents(out)["b4.nii.gz"] == before["b4.nii.gz"]
        assert len(list(out.iterdir())) == 5
