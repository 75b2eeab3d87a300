"""Whether something is refused, by the code of the error and not by its wording."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from segmend.core.errors import Code, InputError


@contextmanager
def raises(code: Code, where: object = None, match: str | None = None) -> Iterator[pytest.ExceptionInfo[InputError]]:
    """Demand an InputError within the block.

    Args:
        code: the kind of problem.
        where: the file or argument that it names; a part of it is enough for a file.
        match: a regular expression of the message, where its wording is what is tested.
    """
    with pytest.raises(InputError) as raised:
        yield raised
    error = raised.value
    assert error.code == code, f"{error.code}: {error}"
    if where is not None:
        assert str(where) in error.where if error.is_path else str(where) == error.where, error.where
    if match is not None:
        assert re.search(match, str(error)), str(error)
