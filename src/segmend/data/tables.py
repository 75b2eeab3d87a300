"""Tables and lists that people write, as text editors and spreadsheet programs save them.

A table is read where only one reading is possible: commas, semicolons or tabs; UTF-8 or UTF-16; any line ends; empty
rows and columns; capitals and blanks in the header. Otherwise the message names the line and what to do.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmend.core.errors import InputError, did_you_mean
from segmend.core.paths import is_file, read_bytes
from segmend.data.names import canonical

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SAVE = "save it as UTF-8 CSV"

_NAMED_SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t ]*', re.IGNORECASE)
"""A first line that Excel reads and hides."""

_ENCODINGS = (  # the longer mark first: that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)

_OTHER_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook (.xlsx) or another zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"\x1f\x8b", "compressed (gzip)"),
    (b"{\\rtf", "a formatted text (.rtf)"),
    (b"%PDF", "a PDF"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        where: file and line, for messages.
        line: number of the line; of the last one, if a cell holds line ends.
        cells: text by column, without blanks around it; "" where there is none.
    """

    where: str
    line: int
    cells: Mapping[str, str]

    def choice(self, column: str, choices: Sequence[str]) -> str:
        """The cell as one of some lower-case words, whatever its capitals; "" if it is empty.

        Raises:
            InputError: it is none of them.
        """
        given = self.cells[column]
        if given and given.casefold() not in choices:
            raise InputError(
                self.where, f"{column} is '{given}'", did_you_mean(given.casefold(), choices), code="unknown-name"
            )
        return given.casefold()

    def number(self, column: str) -> float:
        """The cell as a number; NaN if it is empty.

        Raises:
            InputError: it is none, or written with a decimal comma.
        """
        given = self.cells[column]
        try:
            return float(given) if given else math.nan
        except ValueError as error:
            comma = re.fullmatch(r"[-+]?\d*,\d+([eE][-+]?\d+)?", given)
            remedy = "write decimal points instead of commas" if comma else "give a number such as 0.5"
            raise InputError(
                self.where, f"{column} is '{given}', which is not a number", remedy, code="invalid-value"
            ) from error


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read.

    Attributes:
        columns: as they are called in the code.
        rows: those that are not empty.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(
    path: Path, known: Sequence[str], problems: list[InputError] | None = None, *, remedy: str = "check the name"
) -> Table:
    """Read a table with a header.

    Args:
        path: the file.
        known: names of the columns that it may have; a header may write them with other capitals.
        problems: where to list what is wrong with single columns and rows, which are left out then; by default the
            first of them is raised.
        remedy: what to do if there is no such file.

    Raises:
        InputError: there is no such file, or it cannot be read as a table.
    """
    found: list[InputError] = []
    lines = _lines(path, _text(path, remedy), known)
    header = lines[0][1] if lines else []
    columns = _columns(path, header, known)
    filled = {place for _, cells in lines[1:] for place, cell in enumerate(cells) if cell}
    rows = []
    for place, column in enumerate(columns):
        if not column and place in filled:
            found.append(
                InputError(
                    path,
                    f"column {place + 1} has no name",
                    "name it in the first line, or empty it",
                    code="missing-value",
                )
            )
    for number, cells in lines[1:]:
        where = f"{path} line {number}"
        if any(cells[len(columns) :]):
            advice = "quote cells that hold commas, and write decimal points"
            found.append(InputError(where, "has more cells than there are columns", advice, code="damaged"))
        elif any(cells):
            padded = [*cells, *[""] * (len(columns) - len(cells))]
            rows.append(Row(where, number, {column: padded[place] for place, column in enumerate(columns) if column}))
    if problems is None and found:
        raise found[0]
    if problems is not None:
        problems += found
    return Table(tuple(column for column in columns if column), tuple(rows))


def read_list(path: Path, header: str, names: Collection[str], *, remedy: str = "check the name") -> list[Row]:
    """Reads a list of names, one a line, or the column ``header`` of a table; empty lines are left out.

    Args:
        path: the file.
        header: name of the column; a first line that holds it makes the file a table.
        names: those that may be listed; if ``header`` is one of them, the file is a list.
        remedy: what to do if there is no such file.

    Returns:
        Rows with the one column ``header``.

    Raises:
        InputError: there is no such file, or it is neither.
    """
    lines = [(number, line) for number, line in _text_lines(_text(path, remedy)) if line.strip()]
    if lines and _NAMED_SEPARATOR.fullmatch(lines[0][1]):
        del lines[0]
    if lines and header not in names and _is_header(lines[0][1], header):
        table = read_table(path, (header,), remedy=remedy)
        return [Row(row.where, row.line, {header: row.cells[header]}) for row in table.rows]
    rows = []
    for number, line in lines:
        name = _cell(line).strip(",;\t").strip()
        quoted = len(name) > 1 and name[0] == name[-1] == '"'
        rows.append(Row(f"{path} line {number}", number, {header: name[1:-1].strip() if quoted else name}))
    return [row for row in rows if row.cells[header]]


def _is_header(line: str, header: str) -> bool:
    return any(_cell(cell).strip('"').casefold() == header for cell in re.split(r"[,;\t|]", line))


def _text(path: Path, remedy: str) -> str:
    if not is_file(path):
        raise InputError(path, "cannot be read as a table, as it does not exist", remedy, code="missing-file")
    content = read_bytes(path)
    for mark, kind in _OTHER_FORMATS:
        if content.startswith(mark):
            remedy = "open it in the program that wrote it, and save it as 'CSV UTF-8'"
            raise InputError(path, f"cannot be read as a table, as it is {kind}", remedy, code="unreadable")
    encoding = next((name for mark, name in _ENCODINGS if content.startswith(mark)), None) or _unmarked(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")  # which lacks the mark
        reason = f"line {line}: the byte 0x{error.object[error.start]:02X} is not {encoding.upper()}"
        raise InputError(path, f"cannot be read as a table ({reason})", _SAVE, code="unreadable") from error
    for number, content_of_line in _text_lines(text):
        bad = re.search(r"[\x00-\x08\x0e-\x1f\x7f]", content_of_line)
        if bad:
            problem = f"cannot be read as a table (line {number}: the character U+{ord(bad[0]):04X})"
            raise InputError(path, problem, _SAVE, code="damaged")
    return text


def _unmarked(content: bytes) -> str:
    """The encoding of a text without a mark: UTF-16, if every second byte of the first ones is zero."""
    start = content[:64]
    if len(content) % 2 == 0 and len(start) > 1:
        if not any(start[1::2]) and all(start[::2]):
            return "utf-16-le"
        if not any(start[::2]) and all(start[1::2]):
            return "utf-16-be"
    return "utf-8"


def _text_lines(text: str) -> list[tuple[int, str]]:
    """Lines by number, by the three usual ends of lines; ``splitlines`` knows more of them."""
    return list(enumerate(re.split(r"\r\n|\r|\n", text), start=1))


def _lines(path: Path, text: str, known: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Cells of each line by its number, from the header on."""
    skipped, separator = 0, None
    first = next(iter(_text_lines(text)))[1]
    named = _NAMED_SEPARATOR.fullmatch(first)
    if named:
        separator, skipped = named[1], 1
        text = re.split(r"\r\n|\r|\n", text, maxsplit=1)[-1]
    header = next((line for _, line in _text_lines(text) if _has_cells(line)), "")
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator or _separator(path, header, known),
        skipinitialspace=True,
        strict=True,
    )
    lines = []
    try:
        for cells in reader:
            lines.append((reader.line_num + skipped, [_cell(cell) for cell in cells]))
    except csv.Error as error:
        problem = f"cannot be read as a table (line {reader.line_num + skipped}: {error})"
        raise InputError(path, problem, "close every quotation mark, and " + _SAVE, code="damaged") from error
    while lines and not any(lines[0][1]):
        lines.pop(0)
    return lines


def _has_cells(line: str) -> bool:
    return bool(line.strip(',;|"\t \u00a0'))


def _separator(path: Path, header: str, known: Sequence[str]) -> str:
    """What separates the cells of the header."""
    cells = {sign: [_cell(cell) for cell in _split(header, sign)] for sign in _SEPARATORS}
    possible = [sign for sign, parts in cells.items() if len(parts) > 1]
    if len(possible) > 1:
        names = {column.casefold() for column in known}
        possible = [sign for sign in possible if all(not part or part.casefold() in names for part in cells[sign])]
        if len(possible) != 1:
            signs = " and ".join(name for sign, name in _SEPARATORS.items() if len(cells[sign]) > 1)
            remedy = "separate all cells by commas, and quote cells that hold commas"
            raise InputError(
                path, f"has {signs} in its first line, so that its columns are not certain", remedy, code="damaged"
            )
    return possible[0] if possible else ","


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return [line]


def _columns(path: Path, header: Sequence[str], known: Sequence[str]) -> list[str]:
    by_form = {column.casefold(): column for column in known}
    columns = [by_form.get(cell.casefold(), cell) for cell in header]
    twice = next((column for column in columns if column and columns.count(column) > 1), None)
    if twice:
        raise InputError(path, f"has two columns '{twice}'", "keep one of them", code="duplicate")
    return columns


def _cell(text: str) -> str:
    """Text of a cell without blanks, invisible marks, and the signs by which spreadsheets keep leading zeros."""
    text = canonical(text.strip().strip("\ufeff\u200b").strip())
    kept = re.fullmatch(r'="(.*)"', text)
    return kept[1].strip() if kept else text
