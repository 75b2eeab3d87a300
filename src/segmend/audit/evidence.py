"""A case with the probabilities that its label is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from segmend.core.case import Case
from segmend.engine.evidence import SMALLEST as SMALLEST
from segmend.engine.evidence import Evidence as Evidence
from segmend.engine.evidence import StoredMap as StoredMap
from segmend.engine.evidence import decode as decode
from segmend.engine.evidence import encode as encode
from segmend.engine.evidence import is_evidence as is_evidence
from segmend.engine.evidence import write_classes as write_classes
from segmend.engine.evidence import write_evidence as write_evidence


@dataclass(frozen=True)
class AuditedCase:
    """A case with its evidence.

    Attributes:
        case: with a visible label.
        evidence: on the label's own grid.
        fold: of the model that gave the evidence; 0 if it is that of a given run.
        in_training_set: whether that model was trained on this very label.
        corrected: by label, rounds of correction that changed it before.
        judges_dice: by class or region, the mean pairwise Dice between the predictions of several judges.
        uncertain_alignment: whether the evidence may not lie on the label; then no change is proposed.
    """

    case: Case
    evidence: Evidence
    fold: int = 0
    in_training_set: bool = False
    corrected: Mapping[str, int] = field(default_factory=dict)
    judges_dice: Mapping[str, float] = field(default_factory=dict)
    uncertain_alignment: bool = False
