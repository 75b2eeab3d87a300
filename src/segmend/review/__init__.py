"""Review of the findings of an audit: a local web application, its decisions and their export.

The command ``segmend review`` is ``segmend.review(audit=...)``. It needs the extra ``segmend[review]``. ``store`` keeps
the decisions, ``findings`` and ``scans`` read what is shown, ``slices`` makes pictures of it, ``application`` answers
requests and ``server`` runs it; ``readings`` and ``export`` compare and combine readers.
"""

from __future__ import annotations

from importlib.util import find_spec

from segmend.core.callable_package import make_callable
from segmend.core.errors import InputError

_LIBRARIES = ("starlette", "uvicorn")

make_callable(__name__)


def require_review() -> None:
    """Check that the libraries of the web application are installed.

    Raises:
        InputError: they are not.
    """
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        problem = f"needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed"
        raise InputError("review", problem, "run: pip install segmend[review]", code="environment")
