"""Files that are anything at all: every row is a contact or an error, or the file is refused and says why."""

import io
import re
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.importer.job import Encoding, Findings, Media, Row
from adapters.importer.limits import MAX_CELL_CHARS, SHOWN_ERRORS
from tests.adapters.importer.files import csv_of, xlsx_of
from tests.adapters.importer.test_check import FULL, FULL_HEADER, check
from tests.hostile.effort import effort

REF = re.compile(r"[A-Za-z0-9_.:@-]{1,100}")
NUMBER = re.compile(r"\+[0-9]{2,20}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
MAX_REASON_CHARS = 1_000
HEADER = ("ref", "number1", "name", "priority", "tags", "agent", "zone", "external_id", "consent_until", "City")
PLAIN_FILE = csv_of(FULL_HEADER, FULL)
WORKBOOK = xlsx_of(FULL_HEADER, FULL)

HOSTILE_CELLS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60),
    st.sampled_from(
        [
            "",
            " ",
            "x" * MAX_CELL_CHARS,
            "9" * 5_000,
            "-1",
            "1e308",
            "NaN",
            "+57310582214\u0661",
            "\uff0b\uff15\uff17",
            "=cmd|' /C calc'!A1",
            "@SUM(1)",
            "\r\nAction: Originate",
            '"',
            '""',
            "a,b;c\td",
            "\ufeff",
            "\u202e",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00+23:59",
            "2027-02-30",
            "../../etc/passwd",
            "America/../UTC",
            "/",
            "${SHELL(id)}",
            ",".join(["vip"] * 500),
        ]
    ),
)


class Judged(NamedTuple):
    findings: Findings
    rows: list[Row]


def judged(content: bytes, **changes: Any) -> Judged:
    """A file, checked in a folder of its own. Any error is a bug, and so is a contact that can't be one."""
    with TemporaryDirectory() as folder:
        found = check(Path(folder), content, **changes)
        findings, rows = found.findings, found.rows
        assert findings.rows == findings.good + findings.rejected
        assert findings.good == len(rows)
        assert findings.rejected == 0 or findings.errors
        assert findings.unreadable or findings.rows
        assert len(findings.first_errors) <= SHOWN_ERRORS
        for error in findings.first_errors:
            assert error.reason
            assert len(error.reason) <= MAX_REASON_CHARS
        for row in rows:
            assert REF.fullmatch(row.ref)
            assert row.numbers
            assert all(NUMBER.fullmatch(number) for number in row.numbers)
            texts = (row.name, row.agent, row.zone, row.external_id, *row.tags, *row.data, *row.data.values())
            assert not any(CONTROL.search(text) for text in texts)
        return Judged(findings, rows)


def damaged(content: bytes, wounds: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, noise in wounds:
        at = place % (len(content) + 1)
        content = content[:at] + noise + content[at + length :]
    return content


WOUNDS = st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 30), st.binary(max_size=20)), max_size=5)


@given(content=st.binary(max_size=300), media=st.sampled_from(Media), encoding=st.sampled_from(Encoding))
@example(content=b"PK\x05\x06" + b"\0" * 18, media=Media.XLSX, encoding=Encoding.UTF_8)
@effort(50)
def test_SG_04_bytes_of_any_kind_are_refused_by_a_reason(content: bytes, media: Media, encoding: Encoding) -> None:
    judged(content, media=media, encoding=encoding)


@given(wounds=WOUNDS, encoding=st.sampled_from(Encoding), written=st.sampled_from(["utf-8", "utf-16", "cp1252"]))
@effort(50)
def test_a_damaged_csv_file_is_read_as_far_as_it_can_be(
    wounds: list[tuple[int, int, bytes]], encoding: Encoding, written: str
) -> None:
    judged(damaged(PLAIN_FILE.decode().encode(written), wounds), media=Media.CSV, encoding=encoding)


@given(wounds=WOUNDS)
@effort(50)
def test_a_damaged_workbook_is_read_or_refused(wounds: list[tuple[int, int, bytes]]) -> None:
    judged(damaged(WORKBOOK, wounds), media=Media.XLSX)


@given(st.lists(st.lists(HOSTILE_CELLS, max_size=len(HEADER) + 2), max_size=6), st.integers(0, 5))
@effort(50)
def test_SG_10_TF_30_good_rows_survive_beside_bad_ones(bad: list[list[str]], place: int) -> None:
    good = [(f"spring:{n}", f"+5731058221{n:02}", "Ana", "", "", "", "", "", "", "Cali") for n in range(10, 14)]
    rows: list[Any] = [good[0], *bad[:place], good[1], good[2], *bad[place:], good[3]]
    if any(row and row[0].strip() in {one[0] for one in good} for row in bad):
        return

    found = judged(csv_of(HEADER, *rows))

    assert not found.findings.unreadable
    assert [row.ref for row in found.rows if row.ref.startswith("spring:1")] == [one[0] for one in good]


# -- workbooks whose parts are well packed, and say what no spreadsheet writes ------------------------------------------

SHEET = "xl/worksheets/sheet1.xml"


def with_parts(**parts: bytes) -> bytes:
    """The workbook with these parts in place of its own (`__` is `/`)."""
    out = io.BytesIO()
    replaced = {name.replace("__", "/"): content for name, content in parts.items()}
    with zipfile.ZipFile(io.BytesIO(WORKBOOK)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, replaced.get(info.filename, old.read(info)))
    return out.getvalue()


def sheet(rows: str, head: str = "") -> bytes:
    return with_parts(
        **{
            SHEET.replace("/", "__"): (
                '<?xml version="1.0" encoding="UTF-8"?>'
                + head
                + '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
                + rows
                + "</sheetData></worksheet>"
            ).encode()
        }
    )


def inline(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def numbered(value: str, kind: str = "n", style: str = "") -> str:
    head = f'<row r="1">{inline("A1", "ref")}{inline("B1", "number1")}{inline("C1", "name")}</row>'
    good = f'<row r="2">{inline("A2", "spring:1")}{inline("B2", "+573105822141")}{inline("C2", "Ana")}</row>'
    cell = f'<c r="C3" t="{kind}"{style}><v>{value}</v></c>'
    return f'{head}{good}<row r="3">{inline("A3", "spring:2")}{inline("B3", "+573105822142")}{cell}</row>'


VALUES = [
    "NaN",
    "inf",
    "-inf",
    "1e308",
    "1e999",
    "-0",
    "9" * 400,
    "",
    " ",
    "x",
    "0x10",
    "١٢",
    "1e-320",
    "2958466",
    "-1e9",
]
KINDS = ["n", "d", "b", "e", "s", "str", "inlineStr", "nonsense"]


@pytest.mark.parametrize("value", VALUES)
def test_numbers_that_no_spreadsheet_writes_are_their_rows_fault(value: str) -> None:
    for kind in KINDS:
        found = judged(sheet(numbered(value, kind)))

        assert found.findings.unreadable or found.rows[0].ref == "spring:1", (value, kind)


BOMB = '<!DOCTYPE z [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{of};" * 10}">' for of, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "is_read"),
    [
        (sheet(numbered("&i;", "str"), head=BOMB + "]>"), None),
        (sheet('<row r="1"><c r="A0"><v>1</v></c></row>'), None),
        (sheet('<row r="0"><c r="1A"><v>1</v></c></row>'), None),
        (sheet('<row r="99999999999999999999"><c r="A99999999999999999999"><v>1</v></c></row>'), False),
        (sheet('<row r="-5"><c r="$$"><v>1</v></c></row>'), None),
        (sheet("<row>" * 20_000), None),
        (sheet('<row r="2">' + inline("B2", "x") + '</row><row r="1">' + inline("A1", "ref") + "</row>"), None),
        (sheet(numbered("7", "n", ' s="4000000000"')), None),
        (sheet(numbered("-1", "s")), None),
        (sheet("</sheetData>"), None),
        (sheet("<row" + " r='1'" * 1_000 + "/>"), None),
        (with_parts(xl__sharedStrings_xml=b""), True),
        (with_parts(**{"xl__sharedStrings.xml": b"<sst><si>"}), None),
        (with_parts(**{"xl__workbook.xml": b"<workbook/>"}), False),
        (with_parts(**{"xl__workbook.xml": b"\xff\xfe\x00"}), False),
        (with_parts(**{"xl__styles.xml": b"<styleSheet><cellXfs>" + b"<xf numFmtId='99999'/>" * 5_000}), None),
        (
            with_parts(
                **{"xl___rels__workbook.xml.rels": b"<Relationships><Relationship Id='rId1' Target='../../../etc'/>"}
            ),
            None,
        ),
    ],
)
def test_a_workbook_of_nonsense_is_read_or_refused(content: bytes, is_read: bool | None) -> None:
    found = judged(content)

    assert is_read is None or bool(found.rows) == is_read
