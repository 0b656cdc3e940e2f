"""Contact files as tests send them, and what they ask of the service about them."""

import asyncio
import csv
import io
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import xlsxwriter

from api.token import Role
from tests.api.asking import Answer, ask, token_of
from tests.world import World

CSV, XLSX = "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PATIENCE_S = 60
CHECKED = ("valid", "invalid", "failed", "cancelled")
OVER = ("done", "failed", "cancelled")


def csv_of(*rows: Sequence[str], delimiter: str = ",", end: str = "\r\n") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(rows)
    return out.getvalue().encode()


def xlsx_of(*rows: Sequence[Any], sheets: Sequence[str] = ("Sheet1",)) -> bytes:
    """A workbook whose first sheet has these cells, each as a spreadsheet keeps its kind; a formula is (text, value)."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "default_date_format": "yyyy-mm-dd"}) as book:
        first, *_ = [book.add_worksheet(name) for name in sheets]
        for place, row in enumerate(rows):
            for column, cell in enumerate(row):
                if isinstance(cell, tuple):
                    first.write_formula(place, column, cell[0], None, cell[1])
                elif cell is not None:
                    first.write(place, column, cell)
    return out.getvalue()


async def upload(
    service: World,
    content: bytes,
    kind: str = CSV,
    *,
    token: str | None = None,
    campaign: str = "spring",
    **options: str,
) -> Answer:
    query = urlencode({"campaign": campaign, **options})
    token = token or token_of(service, Role.CAMPAIGN_MANAGER, "manager")
    return await ask(service, "POST", f"/v1/imports?{query}", raw=content, token=token, headers={"Content-Type": kind})


async def reached(service: World, id_: str, states: Sequence[str]) -> dict[str, Any]:
    """The import, once it is in one of these states."""
    shown: dict[str, Any] = {}
    try:
        async with asyncio.timeout(PATIENCE_S):
            while shown.get("state") not in states:
                await asyncio.sleep(0.02)
                shown = (await ask(service, "GET", f"/v1/imports/{id_}")).body
    except TimeoutError:
        raise AssertionError(f"never came to {states}: {shown}") from None
    return shown


async def checked(service: World, content: bytes, kind: str = CSV, **options: str) -> dict[str, Any]:
    """An uploaded file, once it is checked."""
    answer = await upload(service, content, kind, **options)
    assert answer.status == 202, answer.raw
    return await reached(service, answer.body["id"], CHECKED)


async def stored(service: World, content: bytes, kind: str = CSV, **options: str) -> dict[str, Any]:
    """An uploaded file, once it is confirmed with all that may be asked for, and over."""
    shown = await checked(service, content, kind, **options)
    answer = await confirm(service, shown["id"], accept_errors=True, confirm_removal=True)
    assert answer.status == 202, answer.raw
    return await reached(service, shown["id"], OVER)


async def confirm(service: World, id_: str, **body: bool) -> Answer:
    return await ask(service, "POST", f"/v1/imports/{id_}/confirm", body)
