from __future__ import annotations

import shutil

import numpy as np
import pytest
from refusals import raises

import segmend
from segmend.cli import main
from segmend.commands.export_labels import export_labels
from segmend.data.folder import DataFolder
from segmend.data.image import read_grid, read_image, read_label
from segmend.methods import Revision, Supervised
from segmend.networks import UNet

pytestmark = pytest.mark.usefixtures("cpu_only")

AFFINE = np.array([[0, -1.2, 0, 5], [1.0, 0, 0, -3], [0, 0, 2.0, 7], [0, 0, 0, 1]])
"""The first axis runs to the front, the second to the left."""
CLASSES = {"background": 0, "organ": 3, "vessel": 7}
BORDER = 4


class Cubes(Supervised):
    """Before step 1, puts a cube of the vessel into every scan, far from the object; before step 2, takes it away."""

    layers = ("cubes", "second")

    def loss(self, batch, step):
        return {"nothing": 0 * self.network(batch.image).sum()}

    def revises(self, step):
        return step.index in (1, 2)

    def revise(self, cases, step):
        for case in cases:
            label = case.given.clone()
            if step.index == 1:
                label[:4, :4, :4] = 2
            yield Revision(case.name, {"cubes": label})


@pytest.fixture
def root(make_folder, write_scan):
    """Scans with an empty border, in which the first one has a labelled voxel all the same."""
    root = make_folder(shape=(20, 18, 16), labels=CLASSES, affine=AFFINE, table="case,quality\ncase_3,none\n")
    for file in (root / "imagesTr").iterdir():
        image = read_image(file)[0][0]
        image[:BORDER] = 0
        write_scan(file, image, AFFINE)
    file = root / "labelsTr" / "case_1.nii.gz"
    label = np.array(read_label(file)[0])
    label[0, 0, 0] = 3
    write_scan(file, label, AFFINE)
    return root


@pytest.fixture
def train(root, tmp_path):
    """A run of three steps at a spacing."""

    def call(spacing="native", method=Cubes, out="run"):
        return segmend.train(
            data=root,
            method=method,
            network=lambda *sizes: UNet(*sizes, width=2, stages=2),
            out=tmp_path / out,
            cache=tmp_path / "cache",
            patch=(8, 8, 8),
            spacing=spacing,
            iterations=3,
        )

    return call


@pytest.fixture
def export(tmp_path):
    def call(run, out="labels", **options):
        export_labels(run=run.path, out=tmp_path / out, cache=tmp_path / "cache", **options)
        return {file.name: read_label(file)[0] for file in sorted((tmp_path / out).iterdir())}

    return call


def given(root, case="case_1"):
    return read_label(root / "labelsTr" / f"{case}.nii.gz")[0]


class TestExport:
    def test_the_cube_lies_where_it_was_put(self, root, train, export, tmp_path):
        found = export(train(), revision=1)
        assert list(found) == ["case_1.nii.gz", "case_2.nii.gz", "case_3.nii.gz"]
        expected = given(root).copy()
        # Prepared axes run right, front, up: the scan's second axis against them, then its first behind the border.
        expected[BORDER : BORDER + 4, -4:, :4] = 7
        np.testing.assert_array_equal(found["case_1.nii.gz"], expected)
        unlabelled = found["case_3.nii.gz"]
        assert (unlabelled == 7).sum() == 64
        assert (unlabelled != 7).sum() == (unlabelled == 0).sum()
        grid = read_grid(tmp_path / "labels" / "case_3.nii.gz")
        assert grid.matches(read_grid(root / "imagesTr" / "case_3_0000.nii.gz"))

    @pytest.mark.parametrize("spacing", [(2.0, 2.0, 3.0), (0.7, 0.7, 0.9)], ids=["coarser", "finer"])
    def test_what_did_not_change_stays_to_the_voxel(self, root, train, export, spacing):
        run = train(spacing)
        for revision in (0, 2):
            found = export(run, f"labels{revision}", revision=revision)
            for case in ("case_1", "case_2"):
                np.testing.assert_array_equal(found[f"{case}.nii.gz"], given(root, case))
        revised = export(run, "revised", revision=1)["case_1.nii.gz"]
        rewritten = revised != given(root)
        assert (revised[rewritten] == 7).all()
        cube = 4 * np.array(spacing) / (1.2, 1.0, 2.0)
        assert rewritten.sum() == pytest.approx(np.prod(np.round(cube)), rel=0.5)
        assert rewritten[BORDER:, -3:, :2].any()
        assert not rewritten[:BORDER].any()

    def test_the_newest_revision_of_the_first_layer_by_default(self, root, train, export):
        run = train()
        np.testing.assert_array_equal(export(run)["case_1.nii.gz"], given(root))
        shutil.rmtree(run.labels / "0002")
        assert (export(run, "older")["case_1.nii.gz"] == 7).any()
        assert not (export(run, "second", layer="second")["case_1.nii.gz"] != given(root)).any()

    def test_unlabelled_cases_have_no_file_before_they_are_labelled(self, train, export):
        assert list(export(train(), revision=0)) == ["case_1.nii.gz", "case_2.nii.gz"]

    def test_voxels_that_are_not_annotated_stay_so(self, root, train, export, write_scan):
        description = (root / "dataset.json").read_text().replace('"vessel": 7', '"vessel": 7, "ignore": 9')
        (root / "dataset.json").write_text(description)
        label = given(root).copy()
        label[10:, 0, 0] = 9
        write_scan(root / "labelsTr" / "case_1.nii.gz", label, AFFINE)
        run = train()
        np.testing.assert_array_equal(export(run)["case_1.nii.gz"], label)
        assert (export(run, "revised", revision=1)["case_1.nii.gz"] == 9).sum() == (label == 9).sum()

    def test_nothing_given_is_touched(self, root, train, export, contents):
        run = train()
        before = contents(root), contents(run.path)
        export(run)
        assert (contents(root), contents(run.path)) == before


class TestErrors:
    def test_a_run_of_a_method_that_rewrites_nothing(self, train, export):
        with raises("no-data", match="Supervised"):
            export(train(method=Supervised))

    def test_no_such_revision(self, train, export, tmp_path):
        run = train()
        for revision in (3, -1):
            with raises("unknown-name", "revision", match=rf"{revision}\. Give 0 \(as given\) to 2"):
                export(run, revision=revision)
        assert not (tmp_path / "labels").exists()

    def test_no_such_layer(self, train, export):
        with raises("unknown-name", "layer", match=r"'cubs'\. Did you mean cubes\?"):
            export(train(), layer="cubs")

    def test_maps_are_no_layers(self, train, export, monkeypatch):
        run = train()
        monkeypatch.setattr(Cubes, "layers", ("cubes",))
        monkeypatch.setattr(Cubes, "maps", ("second",))
        with raises("unknown-name", "layer", match="'second'"):
            export(run, layer="second")
        monkeypatch.setattr(Cubes, "layers", ())
        with raises("no-data", match="Cubes"):
            export(run)

    def test_data_that_are_gone(self, root, train, export):
        run = train()
        root.rename(root.with_name("moved"))
        with raises("missing-file", root):
            export(run)

    def test_data_that_have_changed(self, root, train, export, write_scan):
        run = train()
        write_scan(root / "labelsTr" / "case_2.nii.gz", given(root), AFFINE)
        with raises("changed-data", root):
            export(run)

    def test_a_folder_that_holds_something(self, train, tmp_path, capsys):
        run = train()
        assert main(["export-labels", "--run", str(run.path), "--out", str(run.path)]) == 1
        assert "already holds something" in capsys.readouterr().err

    def test_a_folder_that_is_not_a_run(self, tmp_path, capsys):
        assert main(["export-labels", "--run", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
        assert "is not a run folder" in capsys.readouterr().err


def test_labels_of_a_folder_can_be_read_again(root, train, export, tmp_path):
    export(train(), revision=1)
    shutil.rmtree(root / "labelsTr")
    (tmp_path / "labels").rename(root / "labelsTr")
    (root / "cases.csv").unlink()
    assert all(case.label for case in DataFolder.open(root).cases)
