"""Colours of classes, the same in the page and in other viewers."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

_FIRST = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Those that Okabe and Ito chose to stay distinguishable under any kind of colour blindness."""

_GOLDEN = 0.618033988749895


def class_colours(count: int) -> list[str]:
    """Colours as ``#rrggbb``; after the first seven, hues that lie as far apart as the number allows.

    Args:
        count: how many.
    """
    more = [_hue(number) for number in range(max(0, count - len(_FIRST)))]
    return [*_FIRST, *more][:count]


def red_green_blue(colour: str) -> tuple[int, int, int]:
    """The parts of ``#rrggbb``, 0..255."""
    red, green, blue = (int(colour[first : first + 2], 16) for first in (1, 3, 5))
    return red, green, blue


def _hue(number: int) -> str:
    parts: Sequence[float] = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.55 + 0.3 * (number % 2), 0.95)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
