"""Which labels are wrong, where and how: what the probabilities of a model that never saw a label say about it.

``evidence`` holds the probabilities, ``calibration`` calibrates them, ``examination`` compares a label with them,
``expectation`` and ``scores`` measure how much the two differ, ``offset`` estimates how much a boundary is over- or
under-segmented, ``regions`` and ``kinds`` describe what is wrong where, ``proposal`` proposes a better label.
``checks`` needs no model, ``annotators`` compares annotators. ``folder`` names the files of an audit.
"""

from __future__ import annotations

from segmend.core.callable_package import make_callable

make_callable(__name__)
