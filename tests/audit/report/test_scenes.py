from __future__ import annotations

import numpy as np
import pytest

from segmend.audit.report.scenes import AuditedScan, audited_scans, worst_region
from segmend.core.errors import InputError
from segmend.core.masks import IGNORE
from segmend.data.image import Grid


@pytest.fixture
def scan() -> AuditedScan:
    """A row of voxels: two classes, some not annotated, the first corrected at its end."""
    return AuditedScan(
        image=np.arange(8, dtype=np.float32).reshape(8, 1),
        given=np.array([0, 1, 1, 0, 2, 2, IGNORE, 0], np.uint8).reshape(8, 1),
        proposal=np.array([0, 1, 1, 1, 2, 2, IGNORE, 0], np.uint8).reshape(8, 1),
        issues=np.array([1, 0, 0, 2, 0, 0, 0, 3], np.uint8).reshape(8, 1),
        grid=Grid((8, 1), np.eye(4)),
    )


def where(mask: np.ndarray) -> list[int]:
    return list(np.flatnonzero(mask))


def test_masks_are_of_the_class_but_for_issues_and_others(scan):
    given, proposal, issue, others = scan.scene(1, 2).masks
    assert where(given) == [1, 2]
    assert where(proposal) == [1, 2, 3]
    assert where(issue) == [0, 3, 7]
    assert where(others) == [4, 5]  # and not what is not annotated


@pytest.mark.parametrize(
    ("label", "worst", "place"),
    [
        (1, 3, [7]),  # the region
        (1, None, [3]),  # what the proposal changes
        (1, 9, [3]),  # likewise where later regions have covered this one
        (2, None, [4, 5]),  # the object
        (3, None, [0, 1, 2, 3, 4, 5, 6, 7]),  # everything
    ],
)
def test_the_worst_is_looked_at(scan, label, worst, place):
    assert where(scan.scene(label, worst).place) == place


def test_the_first_region_is_the_worst_unless_the_whole_boundary_moves():
    regions = [{"region": "4"}, {"region": "2"}]
    assert worst_region({"proposal": "regions"}, regions) == 4
    assert worst_region({"proposal": "shift"}, regions) is None
    assert worst_region({"proposal": "none"}, []) is None


def test_cases_are_read_from_audit_and_data(make_audit):
    made = make_audit(["a", "b"], ["organ", "vessel"])
    ((name, scan),) = audited_scans(made.place, made.folder, ["b"], channel=0)
    assert name == "b"
    assert scan.image.shape == scan.given.shape == (24, 20, 10)
    assert np.count_nonzero(scan.given == 1) == 12 * 5 * 3
    assert np.count_nonzero(scan.proposal == 2) == 12 * 5 * 6
    assert sorted(np.unique(scan.issues)) == [0, 2, 3]


def test_what_does_not_belong_together_is_told(make_audit):
    made = make_audit(["case_a"])
    with pytest.raises(InputError, match=r"no label of case 'case_b'.*case_a"):
        list(audited_scans(made.place, made.folder, ["case_b"], channel=0))
    with pytest.raises(InputError, match=r"channel: is 1. Give 0 to 0"):
        list(audited_scans(made.place, made.folder, ["case_a"], channel=1))
    made.place.issues("case_a", ".nii.gz").unlink()
    with pytest.raises(InputError, match=r"issues/case_a.nii.gz: does not exist"):
        list(audited_scans(made.place, made.folder, ["case_a"], channel=0))
