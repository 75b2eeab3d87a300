"""Which labels are wrong, where and how: what the probabilities of a model that never saw a label say about it.

The command ``segmend audit`` is ``segmend.audit(data=..., out=...)``; ``find_label_issues`` audits labels in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmend.core.callable_package import make_callable

if TYPE_CHECKING:
    from segmend.audit.arrays import find_label_issues as find_label_issues

make_callable(__name__)


def __getattr__(name: str) -> Any:
    if name == "find_label_issues":  # imported on first use, as it needs torch
        from segmend.audit.arrays import find_label_issues

        return find_label_issues
    raise AttributeError(f"module 'segmend.audit' has no attribute '{name}'")
