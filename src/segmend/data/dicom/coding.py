"""Codes for class names: what a segment shows, in terms of SNOMED CT as DICOM's context groups list them."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from pydicom.sr.codedict import codes

_ANATOMY, _ABNORMAL, _OBJECTS = "cid7192", "cid7194", "cid7193"
_SIDES = {"left": "Left", "right": "Right"}
_OTHER_WORDS = {"tumor": "neoplasm", "tumour": "neoplasm", "oedema": "edema", "oesophagus": "esophagus"}


def coded(name: str) -> tuple[Any, Any, Any]:
    """Category, type and side of a structure by its name, as codes of pydicom.

    The name is looked up among the anatomical structures (CID 7192), abnormalities (CID 7194) and objects (CID 7193) of
    DICOM PS3.16; "left" and "right" in it become a modifier. For other names, category and type are both Tissue, the
    general code (SCT 85756007).

    Args:
        name: of the class, such as ``liver`` or ``left_kidney``.

    Returns:
        Category, type, and the side or None.
    """
    words = [_OTHER_WORDS.get(word, word) for word in re.findall(r"[a-z0-9]+", name.casefold())]
    known = _known()
    if "".join(words) in known:
        return *known["".join(words)], None
    sides = [word for word in words if word in _SIDES]
    rest = "".join(word for word in words if word not in _SIDES)
    if len(sides) == 1 and rest in known:
        return *known[rest], getattr(codes.SCT, _SIDES[sides[0]])
    return codes.SCT.Tissue, codes.SCT.Tissue, None


@cache
def _known() -> dict[str, tuple[Any, Any]]:
    """Category and type by names in lower case without blanks."""
    categories = {
        _OBJECTS: codes.SCT.PhysicalObject,
        _ABNORMAL: codes.SCT.MorphologicallyAbnormalStructure,
        _ANATOMY: codes.SCT.AnatomicalStructure,
    }
    return {
        keyword.casefold(): (category, getattr(getattr(codes, group), keyword))
        for group, category in categories.items()
        for keyword in dir(getattr(codes, group))
    }
