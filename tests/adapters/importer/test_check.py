"""Given a file, however it was made, when it is checked, then every row is a contact or an error with row, column, reason."""

import codecs
import csv
import datetime as dt
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.importer.check import Check
from adapters.importer.column import TEMPLATE, BadHeader, check_targets
from adapters.importer.job import Encoding, Findings, Job, Media, Row, chunks
from adapters.importer.limits import CHUNK_ROWS, LONG_FILE_BYTES, MAX_CELL_CHARS, MAX_COLUMNS, MAX_LINE_CHARS
from adapters.importer.spool import CHUNKS, ERRORS, SOURCE, SPARED, error_list
from adapters.importer.template import template
from tests.adapters.importer.files import csv_of, xlsx_of

JOB = Job(
    media=Media.CSV,
    encoding=Encoding.UTF_8,
    columns={},
    required=(),
    region="CO",
    campaign="spring",
    prefix=False,
    tags=frozenset({"vip", "new client"}),
    agents=frozenset({"ann", "ben"}),
    max_rows=10_000,
    max_unpacked_bytes=100 * 1024 * 1024,
    max_memory_bytes=1 << 30,
)
N1, N2, N3 = "+573105822141", "+573105822142", "+576015551234"
HEADER = ("ref", "number1")


class Checked:
    def __init__(self, folder: Path, findings: Findings) -> None:
        self.folder, self.findings = folder, findings

    @property
    def rows(self) -> list[Row]:
        return [row for chunk in chunks(self.folder / CHUNKS) for row in chunk.rows()]

    @property
    def errors(self) -> list[tuple[int, str, str]]:
        return [(one.row, one.column, one.reason) for one in self.findings.first_errors]


def check(folder: Path, content: bytes, workers: int = 0, **changes: Any) -> Checked:
    (folder / SOURCE).write_bytes(content)
    if content[:2] == b"PK" and "media" not in changes:
        changes["media"] = Media.XLSX
    job = msgspec.structs.replace(JOB, **changes)
    return Checked(folder, Check(folder, job, workers, lambda _: None).run())


def table(*rows: Sequence[str], header: Sequence[str] = HEADER) -> bytes:
    return csv_of(header, *rows)


# -- every column -----------------------------------------------------------------------------------------------------

FULL_HEADER = (
    *("ref", "number1", "number1_type", "number2", "number3", "number3_type", "name", "priority", "tags", "agent"),
    *("zone", "external_id", "consent_until", "data.plan", "City"),
)
FULL = (
    *("spring:1", N1, "mobile", "", "6015551234", "work", "Ana Pérez", "HIGH", "vip, new client,vip", "ann"),
    *("America/Bogota", "0017", "2027-01-31", "family", "Bogotá"),
)
FULL_ROW = Row(
    ref="spring:1",
    numbers=(N1, N3),
    name="Ana Pérez",
    data={"plan": "family", "City": "Bogotá", "number1_type": "mobile", "number2_type": "work"},
    priority="high",
    agent="ann",
    zone="America/Bogota",
    tags=("vip", "new client"),
    external_id="0017",
    consent_until=int(dt.datetime(2027, 2, 1, 5, tzinfo=dt.UTC).timestamp()) * 1_000,
)


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_SG_03_SG_08_SG_11_every_column_is_kept_from_both_kinds_of_file(tmp_path: Path, kind: str) -> None:
    content = csv_of(FULL_HEADER, FULL) if kind == "csv" else xlsx_of(FULL_HEADER, FULL)
    found = check(tmp_path, content)
    assert found.errors == []
    assert found.rows == [FULL_ROW]
    assert found.findings.preview == (FULL_ROW,)
    assert found.findings.agents == {"ann"}


def test_SG_11_priority_is_low_where_nothing_is_said(tmp_path: Path) -> None:
    found = check(tmp_path, table(("spring:1", N1), ("spring:2", N2)))
    assert {row.priority for row in found.rows} == {"low"}


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("ref", "", "a value is required"),
        ("ref", "spring 1", "is no ref"),
        ("ref", "x" * 101, "is no ref"),
        ("number1", "", "at least one number is needed"),
        ("number1", "12", "has 2 digits"),
        ("number1_type", "Mobile Phone!", "is no type"),
        ("name", "x" * 201, "has 201 characters"),
        ("priority", "urgent", "none of low, normal, high"),
        ("tags", "vip,nope", "there is no tag 'nope'"),
        ("agent", "zoe", "there is no agent 'zoe'"),
        ("zone", "Bogota", "is no time zone"),
        ("zone", "../../etc/passwd", "is no time zone"),
        ("external_id", "x" * 101, "has 101 characters"),
        ("consent_until", "31/01/2027", "is neither a date"),
        ("consent_until", "2027-01-31T10:00:00", "is neither a date"),
        ("consent_until", "9999-12-31", "is neither a date"),
        ("data.plan", "x" * 1_001, "has 1001 characters"),
        ("name", "a\x07b", "has a control character"),
        ("name", "two\nlines", "has a control character"),
    ],
)
def test_SG_04_SG_05_SG_07_a_wrong_cell_is_named_by_row_and_column(
    tmp_path: Path, column: str, value: str, reason: str
) -> None:
    cells = dict.fromkeys((*HEADER, "number1_type", "name", "priority", "tags", "agent", "zone"), "")
    cells |= {"external_id": "", "consent_until": "", "data.plan": "", "ref": "spring:1", "number1": N1}
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([cells, (cells | {"ref": "spring:2"}).values(), (cells | {column: value}).values()])
    found = check(tmp_path, out.getvalue().encode())
    (error,) = [one for one in found.errors if one[1] == column]
    assert error[0] == 3
    assert reason in error[2]
    assert [row.ref for row in found.rows] == ["spring:2"]
    assert (found.findings.good, found.findings.rejected) == (1, 1)


def test_SG_10_TF_30_all_errors_of_a_row_and_of_all_rows_are_told(tmp_path: Path) -> None:
    header = (*HEADER, "priority", "zone")
    content = csv_of(
        header, ("spring:1", "abc", "soon", "here"), ("spring:2", N1, "low", ""), ("", "", "", ""), ("", N2)
    )
    found = check(tmp_path, content)
    assert [(row, column) for row, column, _ in found.errors] == [
        (2, "number1"),
        (2, "priority"),
        (2, "zone"),
        (5, "ref"),
    ]
    assert (found.findings.rows, found.findings.good, found.findings.rejected, found.findings.errors) == (3, 1, 2, 4)
    listed = list(csv.DictReader(io.StringIO("".join(error_list(tmp_path)))))
    assert [(int(one["row"]), one["column"], one["reason"]) for one in listed] == found.errors


def test_SG_04_required_columns_are_those_that_were_named(tmp_path: Path) -> None:
    content = csv_of((*HEADER, "name", "Plan"), ("spring:1", N1, "Ana", ""), ("spring:2", N2, "", "x"))
    found = check(tmp_path, content, required=("name", "Plan"))
    assert found.errors == [(2, "Plan", "a value is required"), (3, "name", "a value is required")]
    assert check(tmp_path, content).errors == []
    missing = check(tmp_path, content, required=("zone", "City"))
    assert missing.findings.unreadable == "required, and not in the file: zone, City"
    assert missing.rows == []


def test_a_ref_and_an_external_id_stand_once_in_a_file(tmp_path: Path) -> None:
    content = csv_of(
        (*HEADER, "external_id"), ("spring:1", N1, "a"), ("spring:1", N2, "b"), ("spring:2", N2, "a"), ("spring:3", N2)
    )
    found = check(tmp_path, content)
    assert found.errors == [
        (3, "ref", "spring:1 stands in row 2 already"),
        (4, "external_id", "'a' stands in row 2 already"),
    ]


def test_the_same_number_twice_in_a_row_is_kept_once(tmp_path: Path) -> None:
    found = check(tmp_path, csv_of((*HEADER, "number2"), ("spring:1", N1, "310 5822141")))
    assert found.rows[0].numbers == (N1,)
    assert found.findings.warnings == ("the same number twice in a row: kept once: 1 row, the first is 2",)


def test_TF_04_refs_without_the_campaigns_prefix_are_warned_of_or_given_it(tmp_path: Path) -> None:
    content = table(("spring:1", N1), ("2", N2), ("3", N3))
    found = check(tmp_path, content)
    assert found.findings.warnings == ("refs without the prefix 'spring:': 2 rows, the first is 3",)
    assert [row.ref for row in found.rows] == ["spring:1", "2", "3"]
    found = check(tmp_path, content, prefix=True)
    assert found.findings.warnings == ()
    assert [row.ref for row in found.rows] == ["spring:1", "spring:2", "spring:3"]


def test_refs_of_wrong_rows_are_noted_too_for_a_sync_spares_them(tmp_path: Path) -> None:
    check(tmp_path, table(("spring:1", N1), ("spring:2", "wrong"), ("not a ref", N1)))
    assert (tmp_path / SPARED).read_text() == "spring:1\nspring:2\n"


def test_many_rows_come_in_chunks_of_which_some_can_be_left_out(tmp_path: Path) -> None:
    rows = [(f"spring:{n}", f"+57310{n:07}") for n in range(2 * CHUNK_ROWS + 10)]
    found = check(tmp_path, table(*rows))
    assert [row.ref for row in found.rows] == [ref for ref, _ in rows]
    rest = list(chunks(tmp_path / CHUNKS, skip=2))
    assert [len(chunk.refs) for chunk in rest] == [10]
    assert rest[0].numbers[0] == 2 * CHUNK_ROWS + 2


# -- mappings ---------------------------------------------------------------------------------------------------------


def test_SG_09_a_file_of_ones_own_is_read_by_its_mapping(tmp_path: Path) -> None:
    columns = {"Código": "ref", "Teléfono": "number1", "Celular ": "number2", "Ciudad": "data.city", "Notas": "-"}
    content = csv_of(
        ("Código", "Teléfono", "CELULAR", "Ciudad", "Notas", "Otra"), ("spring:1", "6015551234", N1, "Cali", "x", "y")
    )
    found = check(tmp_path, content, columns=columns)
    assert found.errors == []
    assert found.rows == [Row("spring:1", (N3, N1), "", {"city": "Cali", "Otra": "y"})]
    wrong = check(tmp_path, csv_of(("Código", "Teléfono"), ("spring:1", "1")), columns=columns)
    assert wrong.errors[0][:2] == (2, "Teléfono")  # errors speak the file's language
    assert wrong.findings.warnings == ("the mapping names columns that the file hasn't: Celular , Ciudad, Notas",)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"Phone": "number11"}, "is no column of ours"),
        ({"Phone": "numbr1"}, "is no column of ours"),
        ({"A": "number1", "B": "Number 1"}, "both lead to number1"),
        ({"": "ref"}, "is empty"),
        ({"A": " "}, "is empty"),
        ({"A": "data."}, "can't name additional data"),
        ({"A": "data." + "x" * 65}, "can't name additional data"),
    ],
)
def test_SG_09_a_mapping_that_cannot_be_is_refused(columns: dict[str, str], reason: str) -> None:
    with pytest.raises(BadHeader, match=reason):
        check_targets(columns)


# -- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (("ref", "name"), "there is no column number1"),
        (("number1", "name"), "there is no column ref"),
        (("ref", "number1", "number1"), "columns 2 ('number1') and 3 ('number1') are both number1"),
        (("ref", "number1", "City", "city", "City"), "columns 3 ('City') and 5 ('City') are both data.City"),
        (("ref", "number1", "number"), "are both number1"),
        (("ref", "number1", "number2_type"), "there is a column number2_type, and none number2"),
        (("ref", "number1", "x" * 65), "can't name additional data"),
        (
            ("ref", "number1", *(f"c{n}" for n in range(999))),
            f"there are 1001 columns; a file has at most {MAX_COLUMNS}",
        ),
        (("ref", "number1", *(f"c{n}" for n in range(51))), "there are 51 columns of additional data"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_a_header_that_says_nothing_clear_ends_the_check(
    tmp_path: Path, header: tuple[str, ...], reason: str, kind: str
) -> None:
    row = ("spring:1", N1)
    found = check(tmp_path, csv_of(header, row) if kind == "csv" else xlsx_of(header, row))
    assert reason in found.findings.unreadable
    assert (found.errors[0][0], found.findings.good) == (1 if "1001" not in reason or kind == "csv" else 0, 0)


def test_cells_beyond_the_header_and_under_no_header_are_errors(tmp_path: Path) -> None:
    content = b"ref,number1,,name,\r\nspring:1,%b,,Ana,,\r\nspring:2,%b,x,Ben\r\nspring:3,%b,,Cy,,z\r\n" % (
        (N1.encode(),) * 3
    )
    found = check(tmp_path, content)
    assert [row.ref for row in found.rows] == ["spring:1"]
    assert found.errors == [
        (3, "", "column 3 has a value and no header"),
        (4, "", "there are 6 cells under 4 headers"),
    ]


# -- text files as they come ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_line_ends_and_delimiters_are_seen_from_the_file(tmp_path: Path, end: str, delimiter: str) -> None:
    content = csv_of((*HEADER, "name"), ("spring:1", N1, "Ana"), ("spring:2", N2, "Ben"), delimiter=delimiter, end=end)
    found = check(tmp_path, content)
    assert [(row.ref, row.name) for row in found.rows] == [("spring:1", "Ana"), ("spring:2", "Ben")]


def test_the_delimiter_is_not_taken_from_inside_of_quotes(tmp_path: Path) -> None:
    found = check(tmp_path, f'ref;number1;"a,b,c,d"\nspring:1;{N1};"x,y"\n'.encode())
    assert found.rows[0].data == {"a,b,c,d": "x,y"}


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
    ],
)
def test_encodings_that_say_what_they_are(tmp_path: Path, encoding: str, mark: bytes) -> None:
    content = mark + f"ref,number1,name\nspring:1,{N1},Ñandú 日本\n".encode(encoding)
    assert check(tmp_path, content).rows[0].name == "Ñandú 日本"


@pytest.mark.parametrize("named", [Encoding.LATIN_1, Encoding.CP1252])
def test_a_wrong_encoding_is_refused_with_its_line_unless_the_caller_names_it(tmp_path: Path, named: Encoding) -> None:
    content = f"ref,number1,name\nspring:1,{N1},Ana\nspring:2,{N2},Pérez\n".encode("cp1252")
    refused = check(tmp_path, content)
    assert (
        refused.findings.unreadable == "line 3 is not utf-8: save it in UTF-8, or name its encoding (cp1252, latin-1)"
    )
    assert [row.name for row in check(tmp_path, content, encoding=named).rows] == ["Ana", "Pérez"]
    beyond = check(tmp_path, content.replace(b"\xe9", b"\x81"), encoding=Encoding.CP1252)
    assert beyond.findings.unreadable.startswith("line 3 is not cp1252")


def test_lines_inside_of_quotes_belong_to_their_cell(tmp_path: Path) -> None:
    found = check(tmp_path, f'ref,number1,note\nspring:1,{N1},"one\r\ntwo ""quoted"""\nspring:2,{N2},x\n'.encode())
    assert [row.data for row in found.rows] == [{"note": 'one two "quoted"'}, {"note": "x"}]
    assert found.findings.warnings == ("line breaks and tabs in additional data became blanks: 1 row, the first is 2",)


GOOD_ROW = f"spring:1,{N1}\n"


@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        ("", 0, "the file is empty"),
        ("ref,number1\n", 0, "a header and no rows"),
        ("\n\n \n", 1, "the first row is empty"),
        (f"ref,number1\n{GOOD_ROW}spring:2,\0{N2}\n", 3, "has a NUL"),
        (f'ref,number1\n{GOOD_ROW}"spring:2,{N2}\n' + f"spring:3,{N3}\n" * 10, 3, "not closed before the end"),
        (
            f'ref,number1\n{GOOD_ROW}"spring:2,{N2}\n' + f"spring:3,{N3}\n" * 9_000,
            3,
            "maybe a quote that is not closed",
        ),
        (f'ref,number1\n{GOOD_ROW}"spring:2"x,{N2}\n', 3, "follows a closing quote"),
        (f"ref,number1\n{GOOD_ROW}spring:2,{'9' * (MAX_CELL_CHARS + 1)}\n", 3, "a cell has more than"),
        (f"ref,number1\n{GOOD_ROW}{',' * (MAX_LINE_CHARS + 1)}\n", 3, "a line has more than"),
    ],
    ids=["empty", "header-only", "blank", "nul", "unclosed", "unclosed-long", "after-quote", "huge-cell", "huge-line"],
)
def test_a_file_that_falls_apart_is_read_no_further_and_the_row_is_named(
    tmp_path: Path, content: str, row: int, reason: str
) -> None:
    found = check(tmp_path, content.encode())
    assert reason in found.findings.unreadable
    assert found.errors[-1][0] == row
    assert [one.ref for one in found.findings.preview] == (["spring:1"] if row == 3 else [])


def test_more_rows_than_are_read_end_the_check(tmp_path: Path) -> None:
    found = check(tmp_path, table(*[(f"spring:{n}", N1) for n in range(6)]), max_rows=5)
    assert found.findings.unreadable == "the file has more than 5 rows"


@pytest.mark.parametrize("content", [b"PK\x03\x04rest", b"\xd0\xcf\x11\xe0rest", codecs.BOM_UTF32_LE + b"abcd"])
def test_what_is_no_text_is_told_from_text(tmp_path: Path, content: bytes) -> None:
    assert check(tmp_path, content, media=Media.CSV).findings.unreadable


def test_formulas_are_text_and_lists_of_errors_quote_them(tmp_path: Path) -> None:
    formula = "=cmd|' /C calc'!A0"
    header = (*HEADER, "name", "@note")
    found = check(tmp_path, csv_of(header, ("spring:1", N1, formula, "+1"), ("spring:2", N2, "x", "y" * 1_001)))
    assert (found.rows[0].name, found.rows[0].data) == (formula, {"@note": "+1"})
    (listed,) = csv.reader(io.StringIO((tmp_path / ERRORS).read_text()))
    assert listed[1] == "'@note"


# -- workbooks as they come -------------------------------------------------------------------------------------------


def test_what_a_spreadsheet_makes_of_cells_is_text_again(tmp_path: Path) -> None:
    header = ("ref", "number1", "number2", "external_id", "when", "ok", "share")
    row = ("spring:1", 573105822141, 6015551234.0, 17, dt.date(2026, 11, 23), True, 0.25)
    found = check(tmp_path, xlsx_of(header, row))
    assert found.errors == []
    assert found.rows[0].numbers == (N1, N3)
    assert found.rows[0].external_id == "17"
    assert found.rows[0].data == {"when": "2026-11-23", "ok": "true", "share": "0.25"}


def test_digits_that_a_spreadsheet_has_rounded_away_are_an_error(tmp_path: Path) -> None:
    header = ("ref", "number1", "external_id")
    found = check(tmp_path, xlsx_of(header, ("spring:1", N1, 12345678901234567890)))
    assert found.errors == [(2, "external_id", "a spreadsheet has rounded this number: format the column as text")]


def test_of_a_formula_its_value_is_taken(tmp_path: Path) -> None:
    found = check(tmp_path, xlsx_of(("ref", "number1", "name"), ("spring:1", N1, ('=CONCAT("A","na")', "Ana"))))
    assert found.rows[0].name == "Ana"


def test_rows_are_counted_as_the_spreadsheet_shows_them(tmp_path: Path) -> None:
    found = check(tmp_path, xlsx_of((), (None, *HEADER), (), (None, "spring:1", "wrong")))
    assert found.errors[0][0] == 4
    many = check(tmp_path, xlsx_of(HEADER, ("spring:1", N1), sheets=("First", "Second")))
    assert many.findings.warnings == ("only the first of 2 sheets is read: 'First'",)


def bomb(unpacked_bytes: int, name: str = "xl/worksheets/sheet1.xml") -> bytes:
    """A workbook with one more part that unpacks to so much."""
    out = io.BytesIO(xlsx_of(HEADER, ("spring:1", N1)))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"xl/media/{name.replace('/', '_')}", b"\0" * unpacked_bytes)
    return out.getvalue()


def lying(content: bytes) -> bytes:
    """The same archive, that says of each part that it unpacks to a single byte."""
    out = bytearray(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = archive.start_dir
    while out[start : start + 4] == b"PK\x01\x02":
        out[start + 24 : start + 28] = (1).to_bytes(4, "little")
        names = [int.from_bytes(out[start + at : start + at + 2], "little") for at in (28, 30, 32)]
        start += 46 + sum(names)
    return bytes(out)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bomb(120 * 1024 * 1024), "at most 104857600 are read"),
        (bomb(90 * 1024 * 1024), "it looks like a bomb"),
        (lying(bomb(200 * 1024 * 1024)), "no intact .xlsx workbook"),
        (xlsx_of(HEADER)[:-40], "no intact .xlsx workbook"),
        (b"PK\x03\x04" + b"\0" * 100, "no intact .xlsx workbook"),
        (b"", "no intact .xlsx workbook"),
        (b"ref,number1\n", "no intact .xlsx workbook"),
        (xlsx_of(HEADER), "a header and no rows"),
        (xlsx_of(), "the first row is empty"),
    ],
    ids=["too-large", "ratio", "lying", "cut", "not-zip", "empty", "csv", "header-only", "nothing"],
)
def test_a_workbook_that_is_a_bomb_or_none_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    found = check(tmp_path, content, media=Media.XLSX)
    assert reason in found.findings.unreadable
    assert found.rows == []


def test_an_archive_of_many_parts_or_of_something_else_is_no_workbook(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    assert "no xl/workbook.xml" in check(tmp_path, out.getvalue()).findings.unreadable
    with zipfile.ZipFile(out, "a") as archive:
        for n in range(1_001):
            archive.writestr(f"xl/{n}", "")
    assert "the workbook has 1002 parts" in check(tmp_path, out.getvalue()).findings.unreadable


# -- templates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media", list(Media))
def test_SG_03_a_template_filled_in_is_imported(tmp_path: Path, media: Media) -> None:
    content = template(media)
    empty = check(tmp_path, content, media=media)
    assert empty.findings.unreadable == "the file has a header and no rows"
    if media is Media.CSV:
        row = dict.fromkeys(TEMPLATE, "") | {"ref": "spring:1", "number1": N1, "name": "Ana"}
        found = check(tmp_path, content + ",".join(row.values()).encode(), media=media)
        assert [(one.ref, one.name) for one in found.rows] == [("spring:1", "Ana")]
    else:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            assert 'numFmtId="49"' in archive.read("xl/styles.xml").decode()  # text: + and zeros stay


# -- by several processes ---------------------------------------------------------------------------------------------


def test_a_long_file_comes_to_the_same_however_many_processes_check_it(tmp_path: Path) -> None:
    """Given a file of several chunks with faults of every kind in all of them, its errors, rows and counts don't depend on
    who checked which chunk."""
    good = [(f"spring:{place}", f"+57310{place:07}", f"c{place}") for place in range(3 * CHUNK_ROWS + 100)]
    rows = list(good)
    rows[10] = ("spring:10", "12", "c10")
    rows[CHUNK_ROWS + 5] = ("spring:3", N2, "elsewhere")  # a ref of another chunk
    rows[CHUNK_ROWS + 6] = ("other:1", N2, "c7")  # an external id of another chunk, and no prefix
    rows[2 * CHUNK_ROWS + 7] = ("spring:3", "x", "c3")  # all at once
    content = table(*rows, header=("ref", "number1", "external_id"))
    content += b" \n" * (LONG_FILE_BYTES // 2)

    def checked_by(workers: int) -> Checked:
        folder = tmp_path / str(workers)
        folder.mkdir()
        return check(folder, content, workers=workers)

    def everything(found: Checked) -> tuple[object, ...]:
        files = ((found.folder / name).read_bytes() for name in (SPARED, ERRORS))
        return (found.findings, found.rows, *files)

    found = checked_by(0)
    assert everything(found) == everything(checked_by(1)) == everything(checked_by(3))
    assert [(row, column) for row, column, _ in found.errors] == [
        (12, "number1"),
        (CHUNK_ROWS + 7, "ref"),
        (CHUNK_ROWS + 8, "external_id"),
        (2 * CHUNK_ROWS + 9, "number1"),
        (2 * CHUNK_ROWS + 9, "ref"),
        (2 * CHUNK_ROWS + 9, "external_id"),
    ]
    assert found.findings.good == len(rows) - 4


def test_what_can_not_be_read_ends_a_long_file_behind_the_rows_before_it(tmp_path: Path) -> None:
    rows = [(f"spring:{place}", f"+57310{place:07}") for place in range(2 * CHUNK_ROWS + 10)]
    content = table(*rows) + b'spring:x,"' + b" " * 30_000 + b"\n"
    content += (b" " * 1_000 + b"\n") * (LONG_FILE_BYTES // 1_000)
    found = check(tmp_path, content, workers=2)
    assert found.findings.unreadable
    assert (found.findings.rows, len(found.rows)) == (len(rows), len(rows))


def test_a_worker_that_ends_by_itself_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"spring:{place}", f"+57310{place:07}") for place in range(3 * CHUNK_ROWS)]
    monkeypatch.setattr("adapters.importer.worker.sys.executable", "/bin/false")
    with pytest.raises((RuntimeError, BrokenPipeError)):
        check(tmp_path, table(*rows) + b" \n" * (LONG_FILE_BYTES // 2), workers=2)
