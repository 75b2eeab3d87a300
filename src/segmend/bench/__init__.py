"""Paper tables: a plan becomes runs, and runs become a table of measured next to published numbers."""

from __future__ import annotations

from segmend.core.callable_package import make_callable

make_callable(__name__)
