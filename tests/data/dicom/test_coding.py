from __future__ import annotations

import pytest

from segmend.data.dicom.coding import coded


@pytest.mark.parametrize(
    ("name", "category", "kind", "side"),
    [
        ("liver", "Anatomical Structure", "10200004", None),
        ("Spinal_Cord", "Anatomical Structure", "2748008", None),
        ("left kidney", "Anatomical Structure", "64033007", "Left"),
        ("lung_right", "Anatomical Structure", "39607008", "Right"),
        ("tumour", "Morphologically Abnormal Structure", "108369006", None),
        ("GTV-1", "Tissue", "85756007", None),
        ("left", "Tissue", "85756007", None),
        ("", "Tissue", "85756007", None),
    ],
)
def test_names_and_their_codes(name, category, kind, side):
    found = coded(name)
    assert (found[0].meaning, found[1].value) == (category, kind)
    assert {each.scheme_designator for each in found if each} == {"SCT"}
    assert (found[2].meaning if found[2] else None) == side
