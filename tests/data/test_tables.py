from __future__ import annotations

import contextlib
import gzip
import math
import os
import unicodedata
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmend.core.errors import InputError
from segmend.data.tables import Row, read_list, read_table

COLUMNS = ("case", "split", "quality")
EXPECTED = [{"case": "001", "split": "train", "quality": "expert"}, {"case": "b", "split": "", "quality": "noisy"}]


@pytest.fixture
def write(tmp_path):
    def put(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


def cells(path, known=COLUMNS):
    return [dict(row.cells) for row in read_table(path, known).rows]


class TestOneReading:
    @pytest.mark.parametrize(
        "content",
        [
            "case,split,quality\n001,train,expert\nb,,noisy\n",
            "case,split,quality\r\n001,train,expert\r\nb,,noisy",
            "case,split,quality\r001,train,expert\rb,,noisy\r",
            "case;split;quality\n001;train;expert\nb;;noisy\n",
            "case\tsplit\tquality\n001\ttrain\texpert\nb\t\tnoisy\n",
            "case|split|quality\n001|train|expert\nb||noisy\n",
            "sep=;\ncase;split;quality\n001;train;expert\nb;;noisy\n",
            '"sep=,"\r\ncase,split,quality\r\n001,train,expert\r\nb,,noisy\r\n',
            "sep=\t\ncase\tsplit\tquality\n001\ttrain\texpert\nb\t\tnoisy\n",
            "\n,,\n\ncase,split,quality\n,,\n001,train,expert\n\nb,,noisy\n,,\n , ,\n",
            "case,split,quality,,\n001,train,expert,,\nb,,noisy,,\n",
            ",case,split,quality\n,001,train,expert\n,b,,noisy\n",
            "case,split,quality\n001,train,expert,,,\nb,,noisy,\n",
            " Case , SPLIT,Quality \n 001, train ,expert\nb , , noisy\n",
            '"case","split","quality"\n"001","train","expert"\n"b","","noisy"\n',
            '"case", "split", "quality"\n"001", "train", "expert"\n"b", "", "noisy"\n',
            'case,split,quality\n="001",train,expert\nb,,noisy\n',
            "case,split,quality\n\u00a0001,train,expert\u00a0\nb,,noisy\n",
            "\ufeffcase,split,quality\n001,train,expert\nb,,noisy\n",
            '\ufeff"case";"split";"quality"\n001;train;expert\nb;;noisy\n',
            "quality,case,split\nexpert,001,train\nnoisy,b\n",
            "case,split,quality\n001,train,expert\nb,,noisy\n".encode("utf-16"),
            "case,split,quality\n001,train,expert\nb,,noisy\n".encode("utf-16-le"),
            "case,split,quality\n001,train,expert\nb,,noisy\n".encode("utf-16-be"),
            "case\tsplit\tquality\r\n001\ttrain\texpert\r\nb\t\tnoisy\r\n".encode("utf-16"),
            "case,split,quality\n001,train,expert\nb,,noisy\n".encode("utf-32"),
        ],
    )
    def test_is_found(self, write, content):
        assert cells(write(content)) == EXPECTED

    def test_cells_may_hold_separators_in_quotes(self, write):
        assert cells(write('case,split\n"a, b;c",x\n')) == [{"case": "a, b;c", "split": "x"}]
        assert cells(write('case;"split"\na, b;x\n')) == [{"case": "a, b", "split": "x"}]

    def test_names_come_in_one_unicode_form(self, write):
        assert cells(write("case\n" + unicodedata.normalize("NFD", "Müller")), ("case",)) == [{"case": "Müller"}]

    def test_lines_are_counted_as_in_an_editor(self, write):
        rows = read_table(write("sep=,\n\ncase,split\n\na,b\n,\nc,d\n"), COLUMNS).rows
        assert [row.line for row in rows] == [5, 7]
        assert rows[0].where.endswith("table.csv line 5")

    @given(
        rows=st.lists(st.tuples(*[st.sampled_from(["a", "b c", "ä", "1.5", "x;y", "x,y", 'q"q', ""])] * 3), max_size=5),
        separator=st.sampled_from([",", ";", "\t"]),
        end=st.sampled_from(["\n", "\r\n", "\r"]),
        encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    )
    def test_whatever_a_program_writes_comes_back(self, write, rows, separator, end, encoding):
        quoted = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in [COLUMNS, *rows]]
        path = write("".join(separator.join(row) + end for row in quoted).encode(encoding))
        expected = [dict(zip(COLUMNS, row, strict=True)) for row in rows if any(row)]
        assert cells(path) == expected


class TestNoReading:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("case,split;quality\na,b;c\n", "has commas and semicolons in its first line, so that its columns"),
            ("case,split,case\na,b,c\n", r"table.csv: has two columns 'case'\. Keep one"),
            ("case,Split,SPLIT\na,b,c\n", "has two columns 'split'"),
            ("case,,split\na,b,c\n", "column 2 has no name"),
            ("case,split\na,b\nc,d,0,5\n", "line 3: has more cells than there are columns.*commas.*decimal points"),
            ('case,split\na,"b\nc,d\n', r"cannot be read as a table \(line 3: unexpected end of data\).*quotation"),
            (
                "case\na\nM\u00fcller\n".encode("latin-1"),
                r"\(line 3: the byte 0xFC is not UTF-8\)\. Save it as UTF-8 CSV",
            ),
            (b"\xef\xbb\xbfcase\nM\xfcller\n", r"\(line 2: the byte 0xFC is not UTF-8"),
            ("case\na\0b\n", r"\(line 2: the character U\+0000\)\. Save it as UTF-8 CSV"),
            ("case\na\x1b[31m\n", r"\(line 2: the character U\+001B\)"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "is an old Excel workbook"),
            (gzip.compress(b"case\na\n", mtime=0), r"is compressed \(gzip\)"),
            (b"{\\rtf1 case}", "is a formatted text"),
            (b"\xff\xfec", "is not UTF-16"),
        ],
    )
    def test_is_said_with_line_and_remedy(self, write, content, message):
        with pytest.raises(InputError, match=message):
            read_table(write(content), COLUMNS)

    def test_a_workbook_named_csv(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "table.csv", "w") as archive:
            archive.writestr("xl/workbook.xml", "<x/>")
        with pytest.raises(InputError, match=r"is an Excel workbook \(\.xlsx\).*save it as 'CSV UTF-8'"):
            read_table(tmp_path / "table.csv", COLUMNS)

    def test_no_plain_file(self, tmp_path):
        with pytest.raises(InputError, match=r"none\.csv: cannot be read as a table, as it does not exist\. Ask me"):
            read_table(tmp_path / "none.csv", COLUMNS, remedy="ask me")
        (tmp_path / "folder.csv").mkdir()
        os.mkfifo(tmp_path / "pipe.csv")
        (tmp_path / "link.csv").symlink_to("gone.csv")
        for name, problem in (
            ("folder", "is a folder"),
            ("pipe", "is a pipe"),
            ("link", "does not exist; it is a link to gone.csv"),
        ):
            with pytest.raises(InputError, match=rf"{name}\.csv: {problem}"):
                read_table(tmp_path / f"{name}.csv", COLUMNS)

    def test_wrong_rows_are_listed_and_left_out(self, write):
        problems: list[InputError] = []
        table = read_table(write("case,split,\na,b,c\nd,e,f,g\nh,i\n"), COLUMNS, problems)
        assert [row.cells["case"] for row in table.rows] == ["a", "h"]
        assert [problem.problem for problem in problems] == [
            "column 3 has no name",
            "has more cells than there are columns",
        ]

    @given(content=st.binary(max_size=80))
    def test_garbage(self, write, content):
        for read in (read_table, lambda path, columns: read_list(path, columns[0], ())):
            with contextlib.suppress(InputError):
                read(write(content), COLUMNS)


class TestCells:
    row = Row("t.csv line 2", 2, {"dice": "0,5", "hd95": "1.5e-1", "asd": "", "nsd": "many", "split": "Train"})

    def test_numbers(self):
        assert self.row.number("hd95") == 0.15
        assert math.isnan(self.row.number("asd"))
        with pytest.raises(InputError, match=r"t\.csv line 2: dice is '0,5'.*Write decimal points instead of commas"):
            self.row.number("dice")
        with pytest.raises(InputError, match=r"nsd is 'many', which is not a number"):
            self.row.number("nsd")

    def test_choices(self):
        assert self.row.choice("split", ("train", "val")) == "train"
        assert self.row.choice("asd", ("train", "val")) == ""
        with pytest.raises(InputError, match=r"t\.csv line 2: split is 'Train'\. Known are val"):
            self.row.choice("split", ("val",))


class TestList:
    @pytest.mark.parametrize(
        "content",
        [
            "a\nb, c\n",
            "\ufeff a\r\n\r\nb, c \r\n",
            '"a"\n"b, c"\n',
            "a,\nb, c,,\n",
            "a\nb, c\n".encode("utf-16"),
            'case\na\n"b, c"\n',
            'Case;quality\na;expert\n"b, c";\n',
            'sep=;\ncase;x\na;\n"b, c";1\n',
        ],
    )
    def test_one_a_line_or_a_column(self, write, content):
        assert [row.cells["case"] for row in read_list(write(content), "case", ())] == ["a", "b, c"]

    def test_a_case_may_be_called_case(self, write):
        assert [row.cells["case"] for row in read_list(write("case\na\n"), "case", ("a", "case"))] == ["case", "a"]
