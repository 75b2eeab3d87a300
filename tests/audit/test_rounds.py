from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from refusals import raises

from segmend.audit.evidence import write_evidence
from segmend.audit.folder import AuditFolder
from segmend.audit.rounds import EarlierRound, changes_in_words, summarise_changes
from segmend.cli import main
from segmend.commands.audit import audit
from segmend.data.image import read_label
from segmend.functional.morphology import dilate

pytestmark = pytest.mark.usefixtures("cpu_only", "own_cache")

CASES = tuple("abcdef")
TABLE = "case,quality\n" + "".join(f"{case},noisy\n" for case in CASES)
SMALL = ["--network", "UNet", "--network.width", 2, "--network.stages", 2, "--iterations", 2, "--patch", 16, 16, 16]


@pytest.fixture
def data(make_folder, write_scan):
    """Six cases, of which c is over-segmented."""
    root = make_folder(cases=CASES, table=TABLE)
    spoil(root, write_scan, "c", lambda values: dilate(values == 1, 7))
    return root


def spoil(root, write_scan, case, change):
    path = root / "labelsTr" / f"{case}.nii.gz"
    values, grid = read_label(path)
    write_scan(path, change(values).astype(np.uint8), grid.affine)


@pytest.fixture
def probabilities(data, tmp_path):
    """A folder of probabilities, of the labels before c was spoilt: those of b are shared by all."""
    folder = tmp_path / "probabilities"
    folder.mkdir()
    truth, _ = read_label(data / "labelsTr" / "b.nii.gz")
    for case in CASES:
        values = read_label(data / "labelsTr" / f"{case}.nii.gz")[0] if case != "c" else truth
        np.savez(folder / f"{case}.npz", probabilities=np.stack([np.where(values == i, 0.95, 0.05) for i in (0, 1)]))
    return folder


@pytest.fixture
def first(data, tmp_path):
    """A finished audit whose models know the labels before c was spoilt."""
    out = tmp_path / "first"
    place = AuditFolder(out)
    mend = read_label(data / "labelsTr" / "b.nii.gz")[0]
    words = ["audit", "--data", data, "--out", out, "--folds", 2, *SMALL]
    assert main([str(word) for word in words]) == 0
    for case in CASES:
        values = mend if case == "c" else read_label(data / "labelsTr" / f"{case}.nii.gz")[0]
        write_evidence(place.evidence(case), (np.where(values == i, 0.95, 0.05) for i in (0, 1)))
    assert main([str(word) for word in words]) == 0
    return place


class TestNextRound:
    def test_a_corrected_label_is_judged_by_the_same_probabilities(
        self, data, first, tmp_path, write_scan, contents, monkeypatch, capsys
    ):
        before = contents(first.root)
        right, _ = read_label(data / "labelsTr" / "b.nii.gz")
        spoil(data, write_scan, "c", lambda values: right)
        table = TABLE.replace("a,noisy", "a,expert")
        (data / "cases.csv").write_text(table)
        monkeypatch.setattr("segmend.commands.audit.train", lambda **_: pytest.fail("trains"))
        out = tmp_path / "second"
        capsys.readouterr()
        assert main(["audit", "--data", str(data), "--out", str(out), "--earlier", str(first.root)]) == 0
        said = capsys.readouterr().err
        assert "Since the earlier round: 1 changed, 1 confirmed" in said
        since = pd.read_csv(out / "since.csv").set_index("case")
        assert since["change"].fillna("").to_dict() == {**dict.fromkeys("bdef", ""), "a": "confirmed", "c": "changed"}
        assert since.loc["c", "expected_dice_before"] < 0.8 < since.loc["c", "expected_dice_now"]
        assert (since["suspect_before"].sum(), since["suspect_now"].sum()) == (1, 0)
        rows = pd.read_csv(out / "audit.csv").set_index("case")
        assert not rows["in_training_set"].any()  # the model has not seen what is an expert label only now
        assert rows["fold"].to_dict() == first.read_labels().set_index("case")["fold"].to_dict()
        assert contents(first.root) == before
        summary = json.loads((out / "audit.json").read_text())
        assert summary["since"]["suspect"] == [1, 0]

    def test_numbers_are_those_of_an_audit_by_these_probabilities(self, data, first, tmp_path, probabilities):
        again = audit(data=data, out=tmp_path / "second", earlier=first.root)
        given = audit(data=data, out=tmp_path / "third", probabilities=probabilities)
        columns = [name for name in again if name not in ("fold", "rank")]
        pd.testing.assert_frame_equal(
            again.sort_values("case")[columns].reset_index(drop=True),
            given.sort_values("case")[columns].reset_index(drop=True),
            atol=1e-3,
        )

    def test_the_folds_are_trained_again_from_their_weights(self, data, first, tmp_path, write_scan):
        spoil(data, write_scan, "c", lambda values: values * 0 + (values == 1))
        out = tmp_path / "second"
        words = ["audit", "--data", data, "--out", out, "--earlier", first.root, "--retrain", "true", *SMALL]
        assert main([str(word) for word in words]) == 0
        folds = first.read_labels().set_index("case")["fold"].to_dict()
        assert pd.read_csv(out / "audit.csv").set_index("case")["fold"].to_dict() == folds
        for fold in (1, 2):
            told = (out / "folds" / str(fold) / "config.yaml").read_text()
            assert f"weights: {first.fold(fold)}" in told
        assert main([str(word) for word in words]) == 0  # finished: nothing is done again


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "code", "words"),
        [
            (lambda data, place: place.labels.unlink(), "unfinished", "audit.csv"),
            (lambda data, place: place.evidence("b").unlink(), "damaged", "no usable probabilities of case b"),
            (lambda data, place: place.evidence("b").write_bytes(b"x"), "damaged", "no usable probabilities of case b"),
        ],
    )
    def test_an_earlier_round_that_lacks_something(self, data, first, tmp_path, change, code, words):
        change(data, first)
        with raises(code, match=words):
            audit(data=data, out=tmp_path / "second", earlier=first.root)
        assert not (tmp_path / "second").exists()

    def test_other_scans_and_cases(self, data, first, tmp_path, write_scan):
        path = data / "imagesTr" / "d_0000.nii.gz"
        kept = path.read_bytes()
        path.write_bytes((data / "imagesTr" / "e_0000.nii.gz").read_bytes())
        with raises("changed-data", match="those of case d have changed since"):
            audit(data=data, out=tmp_path / "second", earlier=first.root)
        path.write_bytes(kept)
        for folder, ending in (("imagesTr", "_0000"), ("labelsTr", "")):
            source = data / folder / f"a{ending}.nii.gz"
            (data / folder / f"g{ending}.nii.gz").write_bytes(source.read_bytes())
        with raises("mismatch", match="did not judge case g"):
            audit(data=data, out=tmp_path / "second", earlier=first.root)

    def test_arguments_that_do_not_fit(self, data, first, tmp_path, probabilities):
        out = tmp_path / "second"
        with raises("mismatch", match="is the earlier round itself"):
            audit(data=data, out=first.root, earlier=first.root)
        with raises("mismatch", match="are both given"):
            audit(data=data, out=out, earlier=first.root, probabilities=probabilities)
        with raises("missing-value", match="no earlier round is given"):
            audit(data=data, out=out, retrain=True)
        (first.fold(2) / "checkpoints" / "last.ckpt").unlink()
        with raises("missing-file", match="has no model of fold 2"):
            audit(data=data, out=out, earlier=first.root, retrain=True)

    def test_a_given_run_cannot_be_trained_further(self, data, tmp_path, probabilities):
        audit(data=data, out=tmp_path / "first", probabilities=probabilities)
        with raises("missing-file", match="trained no models of its own"):
            audit(data=data, out=tmp_path / "second", earlier=tmp_path / "first", retrain=True)
        found = audit(data=data, out=tmp_path / "second", earlier=tmp_path / "first")
        assert len(found) == len(CASES)


class TestWords:
    @pytest.fixture
    def since(self):
        return pd.DataFrame(
            [
                ("a", "organ", "changed", 0.5, 0.9, 1, 0),
                ("b", "organ", "changed", 0.7, 0.8, 0, 0),
                ("c", "organ", "gone", 0.4, np.nan, 1, np.nan),
                ("d", "organ", "", 0.4, 0.4, 1, 1),
            ],
            columns=[
                *("case", "label", "change", "expected_dice_before", "expected_dice_now"),
                *("suspect_before", "suspect_now"),
            ],
        )

    def test_by_hand(self, since):
        found = summarise_changes(since)
        assert found["expected_dice_of_changed"] == pytest.approx([0.6, 0.85])
        assert changes_in_words(found) == (
            "Since the earlier round: 2 changed, 1 gone; mean expected Dice of the changed labels 0.60 -> 0.85; "
            "suspect labels 3 -> 1."
        )

    def test_nothing_changed(self, since):
        found = summarise_changes(since[since["change"] == ""])
        assert changes_in_words(found) == "Since the earlier round: no label changed; suspect labels 1 -> 1."


def test_it_is_named_by_its_mark(first):
    assert EarlierRound(first).source == {"earlier_round": str(first.root.resolve()), "audit": first.mark}
