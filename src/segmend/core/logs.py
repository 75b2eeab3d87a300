"""How a program shows what Segmend logs and what libraries warn of.

Segmend logs by the standard library, by the logger ``segmend``: remarks at level INFO, warnings at level WARNING.
A Python caller therefore sees warnings only, unless ``logging`` is configured otherwise. The command line shows both.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from segmend.core import progress
from segmend.core.errors import printable

_SHOWN = (progress.LOGGER, logging.getLogger("py.warnings"))
"""Loggers whose records are shown; warnings of Python arrive at the second one."""

HARMLESS: tuple[tuple[str, type[Warning], str], ...] = (
    (r".*dropout_prob", FutureWarning, "a run names every argument of a network, also those that MONAI has deprecated"),
)
"""Warnings of libraries that no user can act on: a regular expression of the message, its kind, and the reason."""


class OnConsole(logging.Handler):
    """Prints a record as one remark: names in it literally, without markup or control characters."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        text = printable(f"{level}{record.getMessage().rstrip()}", keep="\n")
        progress.console.print(text, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def shown(every_warning: bool = False) -> Iterator[None]:
    """Within the block, remarks and warnings of Segmend and of libraries appear on stderr, each warning once.

    Args:
        every_warning: also those that are known to be harmless.
    """
    handler, levels, formatted = OnConsole(), [logger.level for logger in _SHOWN], warnings.formatwarning
    with warnings.catch_warnings():
        warnings.simplefilter("once", append=True)  # behind Python's own filters and those of the user
        for message, category, _ in () if every_warning else HARMLESS:
            warnings.filterwarnings("ignore", message, category)
        warnings.formatwarning = _in_a_line
        logging.captureWarnings(True)
        for logger in _SHOWN:
            if not any(isinstance(each, OnConsole) for each in logger.handlers):  # of a block around this one
                logger.addHandler(handler)
            logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            warnings.formatwarning = formatted
            for logger, level in zip(_SHOWN, levels, strict=True):
                logger.removeHandler(handler)
                logger.setLevel(level)


def _in_a_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"{' '.join(str(message).split())} ({category.__name__})"
