from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from segmend.core.errors import InputError
from segmend.data.check import survey_folder
from segmend.data.folder import DataFolder
from segmend.data.image import read_image, read_label
from segmend.demo.phantom import draw_phantom, write_phantoms
from segmend.metrics import dice

SHAPE, SPACING = (40, 36, 30), (2.4, 2.4, 3.0)


def phantom(*seed: int, shape=SHAPE, spacing=SPACING):
    return draw_phantom(np.random.default_rng(seed), shape, spacing)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantoms(root, train=2, test=1, seed=3, shape=SHAPE, spacing=SPACING)
    return root


@pytest.mark.parametrize("seed", range(6))
def test_the_organ_is_one_piece_inside_the_body(seed):
    image, label = phantom(seed)
    assert image.shape == label.shape == SHAPE
    assert ndimage.label(label)[1] == 1
    assert 0.005 < label.mean() < 0.15
    assert set(np.unique(label)) == {0, 1}
    border = np.ones(SHAPE, dtype=bool)
    border[1:-1, 1:-1] = False
    assert not label[border].any()


def test_no_window_of_intensities_finds_the_organ():
    best = []
    for seed in range(4):
        image, label = phantom(seed, shape=(64, 64, 48), spacing=(1.5, 1.5, 2.0))
        edges = np.percentile(image, np.arange(50, 101, 5))
        windows = itertools.combinations(edges, 2)
        best.append(max(dice((image >= low) & (image <= high), label == 1) for low, high in windows))
    assert np.mean(best) < 0.4
    assert max(best) < 0.6


def test_equal_seeds_give_equal_files_and_others_do_not(tmp_path, folder, contents):
    write_phantoms(tmp_path / "again", train=2, test=1, seed=3, shape=SHAPE, spacing=SPACING)
    write_phantoms(tmp_path / "other", train=2, test=1, seed=4, shape=SHAPE, spacing=SPACING)
    images = [read_image(root / "imagesTr/phantom_001_0000.nii.gz")[0] for root in (folder, tmp_path / "other")]
    assert not np.array_equal(*images)
    first, again = (contents(root) for root in (folder, tmp_path / "again"))
    assert first.keys() == again.keys()
    for name in first:
        if name.endswith(".nii.gz"):
            assert np.array_equal(read_image(folder / name)[0], read_image(tmp_path / "again" / name)[0])


def test_a_case_does_not_depend_on_the_others(tmp_path, folder):
    write_phantoms(tmp_path / "more", train=1, test=2, seed=3, shape=SHAPE, spacing=SPACING)
    as_training, _ = read_label(folder / "labelsTr/phantom_002.nii.gz")
    as_test, grid = read_label(tmp_path / "more/labelsTs/phantom_002.nii.gz")
    assert np.array_equal(as_training, as_test)
    assert grid.matches(read_label(folder / "labelsTr/phantom_002.nii.gz")[1])
    assert not np.array_equal(as_test, read_label(folder / "labelsTr/phantom_001.nii.gz")[0])


def test_the_folder_is_in_order(folder):
    survey = survey_folder(folder)
    assert survey.problems == survey.remarks == []
    opened = DataFolder.open(folder)
    assert [(case.name, case.split) for case in opened.cases] == [
        ("phantom_001", "train"),
        ("phantom_002", "train"),
        ("phantom_003", "test"),
    ]
    assert opened.labels == {"background": 0, "organ": 1}
    assert opened.channel_names == ("MR",)


def test_geometry_is_written(folder):
    file = nibabel.load(folder / "imagesTr/phantom_001_0000.nii.gz")
    np.testing.assert_allclose(file.header.get_zooms(), SPACING, rtol=1e-6)
    assert nibabel.aff2axcodes(file.affine) == ("L", "P", "S")
    np.testing.assert_allclose(file.get_sform(), file.get_qform(), atol=1e-4)
    assert file.header.get_xyzt_units()[0] == "mm"
    centre = nibabel.affines.apply_affine(file.affine, (np.array(SHAPE) - 1) / 2)
    assert np.abs(centre).max() <= 15
    assert np.abs(file.affine - np.diag(np.diag(file.affine)))[:3, :3].max() > 0  # a patient never lies straight
    label = nibabel.load(folder / "labelsTr/phantom_001.nii.gz")
    np.testing.assert_array_equal(label.affine, file.affine)
    assert (file.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 0}, "train, test: are 0 and 1. Ask for one training case or more."),
        ({"shape": (40, 8, 30)}, "give 3 sides from 16"),
        ({"spacing": (1.0, 0.0, 1.0)}, "and 3 spacings in mm"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path, change, message):
    arguments = {"train": 1, "test": 1, "seed": 0, "shape": SHAPE, "spacing": SPACING} | change
    with pytest.raises(InputError, match="(?i)" + message.replace(".", r"\.")):
        write_phantoms(tmp_path / "data", **arguments)
    assert not any(tmp_path.iterdir())
