"""Rows of audit.csv of which a test only cares for a part."""

from __future__ import annotations

from math import nan

from segmend.audit.regions import ErrorKind
from segmend.audit.rows import LabelRow


def example_row(rank: int = 1, case: str = "a", label: str = "organ", score: float = 0.9, **more: object) -> LabelRow:
    """A label that lacks slices if it is suspect."""
    suspect = score < 0.5
    usual: dict[str, object] = {
        "suspect": suspect,
        "reason": "relative" if suspect else "",
        "kind": ErrorKind.SLICES if suspect else ErrorKind.OK,
        "dice_to_prediction": 0.5 + score / 2,
        "flagged_voxels": round(1000 * (1 - score)),
        "expected_dice": 0.4,
        "best_dice": 0.9,
        "distance_mm": 2.0,
        "offset_mm": -1.25,
        "offset_se_mm": 0.1,
        "correction_mm": -0.4,
        "correction_se_mm": 0.2,
        "volume_ratio": 0.5,
        "proposal": "regions" if suspect else "none",
        "expected_dice_proposal": 0.85 if suspect else nan,
        "proposal_score": 0.8 if suspect else nan,
        "changed_voxels": 180,
        "quality": "noisy",
        "annotator": "",
        "fold": 1,
        "in_training_set": False,
        "corrected": 0,
    }
    return LabelRow(rank=rank, case=case, label=label, score=score, **(usual | more))
