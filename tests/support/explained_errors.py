"""Errors of the operating system, and how outputs explain them."""

from __future__ import annotations

import errno

import pytest

EXPLAINED = [
    pytest.param(errno.ENOSPC, "the disk is full, nothing was written. Free some space", id="full"),
    pytest.param(errno.EDQUOT, "the disk is full, nothing was written. Free some space", id="quota"),
    pytest.param(errno.EACCES, "cannot be written to. Choose a folder that you may write to", id="forbidden"),
    pytest.param(errno.EROFS, "cannot be written to. Choose a folder that you may write to", id="read-only"),
    pytest.param(errno.ENAMETOOLONG, r"cannot be written \(too bad\). Choose another name", id="name"),
]
