"""Results stay what they are, bit by bit, unless a version says otherwise.

On a processor of a class that has a record, bits are compared; on another, what no rounding changes is compared bit by
bit and the rest by its size. 'make golden' records this class of processors.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import golden_adapter as adapter
import numpy as np
import pytest
from golden_digests import digest, digest_in_any_order
from golden_records import (
    REMEDY,
    TOLERANCE,
    complaint,
    described,
    is_of_this_processor,
    read_records,
    roughly_differing,
    runnable,
    staged,
    unannounced,
)
from golden_runs import all_golden

from segmend.bench import protocol
from segmend.methods import MeanTeacher, all_methods

GOLDEN = all_golden()


@pytest.fixture(scope="module")
def stage():
    with staged() as stage:
        yield stage


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * golden.slow) for name, golden in GOLDEN.items()]
)
def test_results_are_those_of_their_versions(name, stage):
    golden, records = GOLDEN[name], read_records()
    # What was added on a machine of another class is compared with that one's record.
    record = next((each for each in records if name in each["runs"]), records[0])
    if not runnable(golden):
        pytest.skip("this processor does not compute in bfloat16")
    if name.endswith("/bf16") and not is_of_this_processor(record):
        pytest.skip(
            "rounding to bfloat16 leaves nothing to compare with another processor; 'make golden' records this one"
        )
    now = described(golden, stage.run(golden))
    bits = golden.portable or is_of_this_processor(record)
    assert not complaint(name, now, record["runs"].get(name), bits=bits)


def test_everything_has_a_golden_run():
    names = {part for golden in GOLDEN.values() for part in golden.of}
    assert names >= {
        *adapter.method_names(),
        *adapter.network_names(),
        *adapter.recipe_names(),
        "engine",
        "audit",
        "planner",
    }


@pytest.mark.parametrize("where", ["3D", "2D"])
def test_methods_that_rewrite_labels_do_so_in_a_golden_run(where, stage):
    given = digest([case.given for case in stage.prepared(where).cases])
    found = {name for name, cls in all_methods().items() if cls.layers}
    changed = {
        GOLDEN[name].of[1]
        for record in read_records()
        for name, run in record["runs"].items()
        if name in GOLDEN and f"/{where}/" in name and run["result"].get("labels", given) != given
    }
    # Of the few scans in 3D, all are clean to SelfCleansing; MSTFAL has no run in 2D.
    assert changed >= found - {"3D": {"SelfCleansing"}, "2D": {"MSTFAL"}}[where]


class TestAChange:
    NAME = "method/MeanTeacher/2D/32"

    def test_in_the_sixth_digit_of_a_loss_is_noticed(self, stage, monkeypatch):
        before = described(GOLDEN[self.NAME], stage.run(GOLDEN[self.NAME]))
        loss = MeanTeacher.loss

        def changed(self, batch, step):
            return {name: 1.000001 * term for name, term in loss(self, batch, step).items()}

        monkeypatch.setattr(MeanTeacher, "loss", changed)
        after = described(GOLDEN[self.NAME], stage.run(GOLDEN[self.NAME]))
        said = complaint(self.NAME, after, before, bits=True)
        assert "weights changed" in said.replace("probabilities, ", "")
        assert said.endswith(REMEDY)
        assert not complaint(self.NAME, after, before, bits=False), "a change of this size is rounding elsewhere"

    @pytest.mark.parametrize(("where", "attribute"), [(MeanTeacher, "protocol_version"), (protocol, "ENGINE_VERSION")])
    def test_of_a_version_asks_for_a_new_record(self, where, attribute, monkeypatch):
        before = described(GOLDEN[self.NAME], {"weights": "a"})
        monkeypatch.setattr(where, attribute, 99)
        said = complaint(self.NAME, described(GOLDEN[self.NAME], {"weights": "b"}), before, bits=True)
        assert "99" in said
        assert "make golden" in said

    def test_without_a_version_is_not_recorded(self):
        old = {"a": {"versions": {"engine": 1}, "result": {"weights": "x"}}}
        assert unannounced({"a": {"versions": {"engine": 1}, "result": {"weights": "y"}}}, old) == ["a"]
        assert not unannounced({"a": {"versions": {"engine": 2}, "result": {"weights": "y"}}}, old)
        assert not unannounced({"b": {"versions": {"engine": 1}, "result": {"weights": "y"}}}, old)

    def test_that_is_not_in_the_record_is_asked_for(self):
        assert "not in the record" in complaint("a", {}, None, bits=True)


def test_sizes_may_differ_by_rounding_only():
    assert not roughly_differing({"size": [1.0, 100.0]}, {"size": [1.0 + TOLERANCE / 2, 100.0]})
    assert roughly_differing({"size": [1.0, 100.0]}, {"size": [1.0, 130.0]})
    assert roughly_differing({"size": [1.0]}, {"size": [1.0, 1.0]})


def test_digests_see_every_bit_but_not_the_order_of_parts():
    one, other = np.zeros(3, np.float32), np.array([0, 0, -0.0], np.float32)
    assert digest([one]) != digest([other])
    assert digest([one]) != digest([one.astype(np.float64)])
    assert digest([one, other]) != digest([other, one])
    assert digest_in_any_order([one, other]) == digest_in_any_order([other, one])


@pytest.mark.slow
def test_two_commits_can_be_compared():
    root = Path(__file__).parents[2]
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, check=False).returncode:
        pytest.skip("there is no repository")
    command = [sys.executable, str(Path(__file__).with_name("against.py")), "HEAD", "--only", "recipe/"]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    number = sum(name.startswith("recipe/") for name in GOLDEN)
    assert f"{number} of {number} golden runs give the same bits as HEAD" in ended.stdout
