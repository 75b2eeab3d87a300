"""Synthetic phantoms and the end-to-end demonstration."""

from __future__ import annotations

from segmend.core.callable_package import make_callable

make_callable(__name__)
