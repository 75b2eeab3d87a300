"""Token and port of a server that was killed, so that the same command continues under the same address.

They are kept in a folder of the user, readable by the user alone, and forgotten when a server ends as it should.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from platformdirs import user_state_path

_BYTES = 24


@dataclass(frozen=True)
class Session:
    """What a page needs to go on.

    Attributes:
        token: that requests must know.
        port: of the server; 0 for any.
    """

    token: str
    port: int = 0

    @classmethod
    def new(cls, port: int = 0) -> Self:
        """One with a random token."""
        return cls(secrets.token_urlsafe(_BYTES), port)

    @classmethod
    def left(cls, audit: Path, mark: str) -> Self | None:
        """What a killed server of this audit has left, if anything."""
        try:
            content = json.loads(_file(audit, mark).read_text(encoding="utf-8"))
            token, port = content["token"], content["port"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        usable = isinstance(token, str) and len(token) >= _BYTES and type(port) is int and 0 < port < 2**16
        return cls(token, port) if usable else None

    def keep(self, audit: Path, mark: str) -> None:
        """Write it down, where that is possible: without it, a killed server comes back with a new token."""
        path = _file(audit, mark)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = path.with_name(f"{path.name}.{os.getpid()}")
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(asdict(self), file)
            os.replace(temporary, path)

    def forget(self, audit: Path, mark: str) -> None:
        """Remove it, unless another server has written its own since."""
        if Session.left(audit, mark) == self:
            with suppress(OSError):
                _file(audit, mark).unlink()


def _file(audit: Path, mark: str) -> Path:
    name = hashlib.sha256(f"{audit.resolve()} {mark}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return user_state_path("segmend") / "review" / f"{name}.json"
