"""Where ``benchmarks/acdc/around_heart.py`` cuts."""

from __future__ import annotations

import runpy
from pathlib import Path

import nibabel
import numpy as np
import pytest

from segmend.core.errors import InputError

_SCRIPT = str(Path(__file__).parents[2] / "benchmarks" / "acdc" / "around_heart.py")


@pytest.mark.parametrize(
    ("at", "start"),
    [(100, 36), (0, 0), (199, 72)],
    ids=["around the object", "not beyond the first pixel", "nor the last"],
)
def test_window(at, start):
    mask = np.zeros((200, 200, 3), bool)
    mask[at, 100, 1] = True
    window = runpy.run_path(_SCRIPT)["window"](mask)
    assert window[0] == slice(start, start + 128)
    assert mask[window].sum() == 1


def test_voxels_stay_where_they_were(tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "out"
    for name in ("imagesTr", "labelsTr"):
        (data / name).mkdir(parents=True)
    (data / "dataset.json").write_text("{}")
    label = np.zeros((160, 150, 2), np.uint8)
    label[100:120, 70:90] = 1
    image = nibabel.Nifti1Image(label, np.diag([1.5, 1.5, 10, 1]))
    nibabel.save(image, data / "labelsTr" / "p.nii.gz")
    nibabel.save(image, data / "imagesTr" / "p_0000.nii.gz")
    monkeypatch.setattr("sys.argv", ["around_heart.py", "--data", str(data), "--out", str(out)])
    runpy.run_path(_SCRIPT, run_name="__main__")
    cut = nibabel.load(out / "labelsTr" / "p.nii.gz")
    assert cut.shape == (128, 128, 2)
    places = np.argwhere(np.asarray(cut.dataobj) > 0)[0]
    assert np.allclose(nibabel.affines.apply_affine(cut.affine, places), [150, 105, 0])
    assert (np.asarray(nibabel.load(out / "imagesTr" / "p_0000.nii.gz").dataobj) == np.asarray(cut.dataobj)).all()


def test_a_scan_without_a_heart_is_named(tmp_path, monkeypatch):
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "imagesTr").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.zeros((150, 150, 2), np.uint8), np.eye(4)), tmp_path / "labelsTr" / "p.nii.gz")
    monkeypatch.setattr("sys.argv", ["x", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    with pytest.raises(InputError, match="has no label"):
        runpy.run_path(_SCRIPT, run_name="__main__")
    assert not (tmp_path / "out").exists()
