"""Scans segmented and data folders scored from Python."""

from __future__ import annotations

import nibabel
import numpy as np
import pandas as pd
import pytest
from refusals import raises

import segmend

LABELS = {"background": 0, "left": 3, "right": 7}


def save(array, affine, file):
    file.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a few steps, on rotated scans of two channels; its data folder; and what the commands make of it."""
    root = tmp_path_factory.mktemp("trained")
    data = root / "data"
    data.mkdir()
    channels, affine = {"0": "T1", "1": "T2"}, np.array([[0, 1, 0, 3], [-1.5, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    description = {"channel_names": channels, "labels": LABELS, "file_ending": ".nii.gz"}
    (data / "dataset.json").write_text(str(description).replace("'", '"'))
    for number, case in enumerate(("train_1", "train_2", "test_1", "test_2")):
        part = "Tr" if case.startswith("train") else "Ts"
        random = np.random.default_rng(number)
        label = np.zeros((20, 18, 16), np.uint8)
        label[4 : 9 + number, 4:14, 3:12], label[12:17, 4 : 10 + number, 3:12] = 3, 7
        for channel in range(2):
            image = 50.0 * channel + 20 * label + random.normal(0, 5, label.shape)
            save(image.astype(np.float32), affine, data / f"images{part}" / f"{case}_{channel:04d}.nii.gz")
        save(label, affine, data / f"labels{part}" / f"{case}.nii.gz")
    run = segmend.train(
        data=data,
        out=root / "run",
        method="Supervised",
        network=segmend.UNet(2, 3, 3, width=4),
        iterations=20,
        patch=(16, 16, 16),
        cache=root / "cache",
    )
    segmend.predict(run=run.path, images=data / "imagesTs", out=root / "predictions", probabilities=True)
    return run, data, root / "predictions"


def channels_of(data):
    return [data / "imagesTs" / f"test_1_{channel:04d}.nii.gz" for channel in range(2)]


def array_of(file):
    return np.asarray(nibabel.load(file).dataobj)


class TestPredict:
    def test_files_give_what_the_command_writes(self, trained):
        run, data, predictions = trained
        label = run.predict([str(file) for file in channels_of(data)])
        assert np.array_equal(label, array_of(predictions / "test_1.nii.gz"))
        assert set(np.unique(label)) <= set(LABELS.values())
        assert len(np.unique(label)) > 1

    def test_an_array_with_its_affine_gives_the_same(self, trained):
        run, data, _ = trained
        image = np.stack([array_of(file) for file in channels_of(data)])
        affine = nibabel.load(channels_of(data)[0]).affine
        assert np.array_equal(run.predict(image, affine=affine), run.predict(channels_of(data)))
        assert run.predict(image, spacing=(1.5, 1, 2)).shape == image.shape[1:]

    def test_probabilities(self, trained):
        run, data, predictions = trained
        label, probabilities = run.predict(channels_of(data), probabilities=True)
        assert probabilities.shape == (3, *label.shape)
        assert probabilities.sum(0) == pytest.approx(1, abs=1e-5)
        written = array_of(predictions / "probabilities" / "test_1_right.nii.gz")
        assert probabilities[2] == pytest.approx(written, abs=1e-6)

    def test_windows_are_passed_on(self, trained):
        run, data, _ = trained
        _, plain = run.predict(channels_of(data), probabilities=True)
        _, flipped = run.predict(channels_of(data), probabilities=True, flips=True)
        assert not np.array_equal(plain, flipped)

    @pytest.mark.parametrize(
        ("shape", "given", "where", "code"),
        [
            ((2, 8, 8, 8), {}, "spacing", "missing-value"),
            ((2, 8, 8, 8), {"spacing": (1, 1, 1), "affine": np.eye(4)}, "spacing", "mismatch"),
            ((2, 8, 8, 8), {"spacing": (1, 1)}, "spacing", "invalid-value"),
            ((2, 8, 8, 8), {"spacing": (1, 1, 0)}, "spacing", "invalid-value"),
            ((2, 8, 8, 8), {"affine": np.zeros((4, 4))}, "affine", "invalid-value"),
            ((3, 8, 8, 8), {"spacing": (1, 1, 1)}, "scan", "mismatch"),
            ((8, 8, 8), {"spacing": (1, 1, 1)}, "scan", "mismatch"),
            ((8, 8), {"spacing": (1, 1, 1)}, "scan", "mismatch"),
        ],
    )
    def test_arrays_that_cannot_be_used(self, trained, shape, given, where, code):
        with raises(code, where):
            trained[0].predict(np.zeros(shape), **given)

    def test_the_best_checkpoint_of_a_run_without_validation(self, trained):
        run, data, _ = trained
        with raises("missing-file", "best.ckpt", match="[Tt]ake `checkpoint last`"):
            run.predict(channels_of(data), checkpoint="best")


class TestEvaluate:
    def test_gives_the_table_of_the_command(self, trained, tmp_path):
        run, data, predictions = trained
        table = run.evaluate(data)
        written = segmend.evaluate(predictions=predictions, references=data / "labelsTs", out=tmp_path / "scores.csv")
        pd.testing.assert_frame_equal(table, written)
        assert list(table["label"]) == ["left", "right"] * 2

    def test_a_split_without_labels(self, trained):
        run, data, _ = trained
        with raises("no-data", data):
            run.evaluate(data, split="val")

    def test_data_of_other_classes(self, trained, make_folder):
        with raises("mismatch", match="has the classes"):
            trained[0].evaluate(make_folder())


def test_quality_is_that_of_the_command(trained, tmp_path):
    run, data, _ = trained
    segmend.predict(run=run, images=data / "imagesTs", out=tmp_path / "out", uncertainty=True)
    entropy, table = run.quality(channels_of(data))
    np.testing.assert_allclose(entropy, array_of(tmp_path / "out" / "uncertainty" / "test_1.nii.gz"), atol=1e-6)
    written = pd.read_csv(tmp_path / "out" / "quality.csv").query("case == 'test_1'").drop(columns="case")
    pd.testing.assert_frame_equal(table, written.reset_index(drop=True), rtol=1e-4, check_dtype=False)
    assert list(table["label"]) == ["left", "right"]
