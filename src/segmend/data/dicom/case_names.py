"""Names of cases made of the attributes of their series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from segmend.data.dicom.objects import ImageFiles
from segmend.data.names import canonical, confusable

_LONGEST = 60
"""Letters of a PatientID that are kept; the standard allows 64, and a file name needs room for more."""


def case_names(series: Sequence[ImageFiles], *, anonymous: bool) -> dict[str, str]:
    """A name for each series, by its SeriesInstanceUID: PATIENT_DATE_NUMBER, or case_001, case_002...

    Names hold letters, digits, ``-`` and ``.`` only, and are unique even where capitals do not count; the second
    series of a name ends in ``_b``, the next in ``_c`` and so on. Numbers follow the order of the UIDs, which says
    nothing about patients.

    Args:
        series: the series.
        anonymous: number them.
    """
    ordered = sorted(series, key=lambda each: each.uid)
    if anonymous:
        digits = max(3, len(str(len(ordered))))
        return {each.uid: f"case_{number:0{digits}d}" for number, each in enumerate(ordered, start=1)}
    names: dict[str, str] = {}
    taken: set[str] = set()
    for each in ordered:
        names[each.uid] = next(name for name in _candidates(each) if confusable(name) not in taken)
        taken.add(confusable(names[each.uid]))
    return names


def _candidates(series: ImageFiles) -> Iterable[str]:
    parts = [_safe(series.patient)[:_LONGEST] or "patient", _safe(series.date), f"s{_safe(series.number) or 0}"]
    name = "_".join(part for part in parts if part)
    yield name
    number = 2
    while True:
        yield f"{name}_{_letters(number)}"
        number += 1


def _letters(number: int) -> str:
    """2 is b, 26 is z, 27 is aa; letters, as four digits at the end of a file name are its channel."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _safe(text: str) -> str:
    """The text with everything but letters and digits of any script as single hyphens."""
    return "-".join("".join(letter if letter.isalnum() or letter == "." else " " for letter in canonical(text)).split())
