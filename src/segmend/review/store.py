"""Decisions of a review in SQLite, next to the audit: every step is kept, with its time and reader.

A step is one transaction, on the disk before the answer is given. A process that is killed therefore loses at most the
step that it is writing, and never the file: what was half-written is rolled back from SQLite's journal when it is
opened next. The journal is SQLite's default one and no write-ahead log, since that needs shared memory, which
network drives lack. Each call opens the file, so threads, processes and machines may share it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segmend.core.errors import Code, InputError
from segmend.core.paths import is_file
from segmend.data.names import confusable
from segmend.review.decisions import Decision, Subject

FILE = "review.sqlite"

_VERSION = 1
_APPLICATION = 0x5E6E4E44
"""Identifier in the header of the file, by which other databases are recognised."""

_PATIENCE_S = 10.0
"""Seconds to wait for another process that writes."""

_TABLES = (
    "CREATE TABLE audit (mark TEXT NOT NULL)",
    """CREATE TABLE steps (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time TEXT NOT NULL,
        reader TEXT NOT NULL,
        case_name TEXT NOT NULL,
        label TEXT NOT NULL,
        region INTEGER,
        decision TEXT NOT NULL,
        comment TEXT NOT NULL,
        file TEXT NOT NULL,
        taken_back TEXT
    )""",
    "CREATE INDEX by_reader ON steps (reader, case_name, label, region)",
)
_COLUMNS = "case_name, label, region, reader, decision, comment, time, file"
_CODES: dict[int, Code] = {
    sqlite3.SQLITE_BUSY: "in-use",
    sqlite3.SQLITE_LOCKED: "in-use",
    sqlite3.SQLITE_FULL: "no-space",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}
_WORDS: dict[Code, tuple[str, str]] = {
    "in-use": ("is being written by another process", "try again"),
    "no-space": ("cannot be written, as the disk is full", "free some space, and try again"),
    "damaged": ("is damaged, or no file of a review", "restore it, or rename it to begin the review again"),
    "not-writable": ("cannot be written", "make sure that you may write there, and that the disk is there"),
}


class ReviewStore:
    """The decisions of all readers about one audit.

    Args:
        path: of the file; it is made if there is none.
        mark: identifier of the audit.

    Raises:
        InputError: the file holds decisions about another audit, is damaged, of a later version of Segmend, or cannot
            be written.
    """

    def __init__(self, path: Path, mark: str) -> None:
        self.path = path
        is_file(path)  # refuses folders and links that lead nowhere
        with self._opened("rwc") as file:
            _prepare(file, path, mark)

    def decide(self, decision: Decision) -> int:
        """Write a step, unless it is what the reader has decided already.

        Args:
            decision: its time is not used; an empty decision takes an earlier one back.

        Returns:
            How many steps of this reader can be taken back.

        Raises:
            InputError: another reader has nearly the same name, or the file cannot be written.
        """
        subject, reader = decision.subject, decision.reader
        with self._opened() as file:
            _check_spelling(file, reader)
            before = _in_force(file, reader, subject)
            known = (before.decision, before.comment, before.file) if before else ("", "", "")
            if known != (decision.decision, decision.comment, decision.file):
                file.execute(
                    f"INSERT INTO steps ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        subject.case,
                        subject.label,
                        subject.region,
                        reader,
                        decision.decision,
                        decision.comment,
                        _now(),
                        decision.file,
                    ),
                )
            return _steps(file, reader)

    def take_back(self, reader: str) -> tuple[Decision, int] | None:
        """Take back the last step of a reader; it stays in the history.

        Returns:
            What is in force now about the same subject (an empty decision if nothing is), and how many steps can still
            be taken back; None if there was none.
        """
        with self._opened() as file:
            found = file.execute(
                "SELECT id, case_name, label, region FROM steps WHERE reader = ? AND taken_back IS NULL "
                "ORDER BY id DESC LIMIT 1",
                (reader,),
            ).fetchone()
            if found is None:
                return None
            file.execute("UPDATE steps SET taken_back = ? WHERE id = ?", (_now(), found[0]))
            subject = Subject(*found[1:])
            return _in_force(file, reader, subject) or Decision(subject, reader, ""), _steps(file, reader)

    def decisions(self, reader: str | None = None, case: str | None = None) -> list[Decision]:
        """What is in force, in the order in which it was decided.

        Args:
            reader: of this reader only.
            case: about this case only.
        """
        with self._opened(begin="BEGIN") as file:
            return _latest(file, reader, case)

    def comments(self, reader: str, case: str | None = None) -> dict[Subject, str]:
        """Comments of a reader, also those on what is not decided."""
        with self._opened(begin="BEGIN") as file:
            return {each.subject: each.comment for each in _latest(file, reader, case, undecided=True) if each.comment}

    def readers(self) -> list[str]:
        """Names of all who took a step, in the order of their first one."""
        with self._opened(begin="BEGIN") as file:
            return [name for (name,) in file.execute("SELECT reader FROM steps GROUP BY reader ORDER BY min(id)")]

    def steps(self, reader: str) -> int:
        """How many steps of a reader can be taken back."""
        with self._opened(begin="BEGIN") as file:
            return _steps(file, reader)

    def history(self) -> list[dict[str, Any]]:
        """All steps ever taken, those that were taken back with the time of that."""
        with self._opened(begin="BEGIN") as file:
            rows = file.execute(f"SELECT id, {_COLUMNS}, taken_back FROM steps ORDER BY id")
            names = [column[0] for column in rows.description]
            return [dict(zip(names, row, strict=True)) for row in rows]

    @contextmanager
    def _opened(self, mode: str = "rw", begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """One transaction; one that writes begins by keeping others from writing, as a lock cannot be raised later."""
        address = f"{self.path.resolve().as_uri()}?mode={mode}"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE_S, isolation_level=None)) as file:
                file.execute("PRAGMA synchronous = FULL")
                file.execute(begin)
                try:
                    yield file
                    file.execute("COMMIT")
                except BaseException:
                    if file.in_transaction:
                        file.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> InputError:
        number = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN)
        code = _CODES.get(number & 0xFF, "not-writable")
        problem, remedy = _WORDS[code]
        return InputError(self.path, f"{problem} ({error})", remedy, code=code)


def _prepare(file: sqlite3.Connection, path: Path, mark: str) -> None:
    """Make the tables of a new file, or make sure that they are those of this audit."""
    version = file.execute("PRAGMA user_version").fetchone()[0]
    application = file.execute("PRAGMA application_id").fetchone()[0]
    tables = file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not tables and not version:
        for table in _TABLES:
            file.execute(table)
        file.execute("INSERT INTO audit VALUES (?)", (mark,))
        file.execute(f"PRAGMA application_id = {_APPLICATION}")
        file.execute(f"PRAGMA user_version = {_VERSION}")
        return
    if application != _APPLICATION:
        raise InputError(path, *_WORDS["damaged"], code="damaged")
    if version > _VERSION:
        problem = f"was written by a later version of Segmend (format {version}, known is {_VERSION})"
        raise InputError(path, problem, "update Segmend: pip install -U segmend", code="unsupported")
    known = file.execute("SELECT mark FROM audit").fetchone()[0]
    if known != mark:
        problem = f"holds decisions about another audit ({known}, this one is {mark})"
        remedy = "rename it to begin the review of this audit; correct with it only what that audit proposed"
        raise InputError(path, problem, remedy, code="mismatch")


def _latest(file: sqlite3.Connection, reader: str | None, case: str | None, undecided: bool = False) -> list[Decision]:
    rows = file.execute(
        f"SELECT {_COLUMNS} FROM steps WHERE id IN (SELECT max(id) FROM steps WHERE taken_back IS NULL "
        "AND (? IS NULL OR reader = ?) AND (? IS NULL OR case_name = ?) GROUP BY reader, case_name, label, region) "
        "ORDER BY id",
        (reader, reader, case, case),
    )
    found = [Decision(Subject(*row[:3]), *row[3:]) for row in rows]
    return found if undecided else [each for each in found if each.decision]


def _in_force(file: sqlite3.Connection, reader: str, subject: Subject) -> Decision | None:
    row = file.execute(
        f"SELECT {_COLUMNS} FROM steps WHERE taken_back IS NULL AND reader = ? AND case_name = ? AND label = ? "
        "AND region IS ? ORDER BY id DESC LIMIT 1",
        (reader, subject.case, subject.label, subject.region),
    ).fetchone()
    return Decision(Subject(*row[:3]), *row[3:]) if row else None


def _steps(file: sqlite3.Connection, reader: str) -> int:
    count = file.execute("SELECT count(*) FROM steps WHERE reader = ? AND taken_back IS NULL", (reader,)).fetchone()[0]
    return int(count)


def _check_spelling(file: sqlite3.Connection, reader: str) -> None:
    """Two spellings of a name would be two readers, and one file on some systems."""
    for (other,) in file.execute("SELECT DISTINCT reader FROM steps"):
        if other != reader and confusable(other) == confusable(reader):
            problem = f"'{reader}' is nearly the reader '{other}' of this review"
            raise InputError("reader", problem, f"write '{other}', or another name", code="duplicate")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
