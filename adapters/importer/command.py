"""`ringfold import`: a file into a campaign of a running service, over HTTP, as anybody could do it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

MEDIA = {
    ".csv": "text/csv",
    ".tsv": "text/csv",
    ".txt": "text/csv",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
BLOCK_BYTES = 256 * 1024
ASK_EVERY_S = 0.3
ANSWER_WITHIN_S = 60
SHOWN_ERRORS = 50
CHECKED = ("valid", "invalid", "failed", "cancelled")
OVER = ("done", "failed", "cancelled")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done: `options` go with the upload, as in the query of `POST /v1/imports`."""

    file: Path
    url: str
    token: str
    options: dict[str, str]
    dry_run: bool = False
    accept_errors: bool = False
    confirm_removal: bool = False


class Failed(Exception):
    """The service said no, or nothing. The message says why."""


async def run(order: Order, console: Console) -> int:
    """The exit status: 0 for stored (or, when dry, right), 1 for errors and refusals."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_WITHIN_S, sock_read=ANSWER_WITHIN_S)
    headers = {"Authorization": f"Bearer {order.token}"}
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
                talk = _Talk(order, session, progress)
                shown = await talk.check()
                go_on = _may_go_on(order, shown)
                shown = await (talk.store(shown) if go_on else talk.drop(shown))
            _print(shown, console, stored=go_on)
            return 0 if (shown["state"] == "done" if go_on else _is_right(shown)) else 1
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Failed(f"{order.url} doesn't answer: {str(error) or type(error).__name__}") from None


def _is_right(shown: dict[str, Any]) -> bool:
    return bool(shown["can_confirm"]) and not shown["error_count"]


def _may_go_on(order: Order, shown: dict[str, Any]) -> bool:
    return not order.dry_run and bool(shown["can_confirm"]) and (order.accept_errors or not shown["error_count"])


class _Talk:
    """The conversation about one import, with its progress on the screen."""

    def __init__(self, order: Order, session: aiohttp.ClientSession, progress: Progress) -> None:
        self._order, self._session, self._progress = order, session, progress

    async def check(self) -> dict[str, Any]:
        """Upload, and wait until it is checked."""
        order = self._order
        kind = MEDIA.get(order.file.suffix.lower())
        if kind is None:
            raise Failed(f"{order.file.name}: one of {', '.join(MEDIA)} is expected")
        try:
            size = (await asyncio.to_thread(order.file.stat)).st_size
        except OSError as error:
            raise Failed(str(error)) from None
        bar = self._progress.add_task("uploading (bytes)", total=size)
        options = {name: value for name, value in order.options.items() if value}
        path = f"/v1/imports?{urlencode(options | {'name': order.file.name[:200]})}"
        body = self._blocks(lambda sent: self._progress.advance(bar, sent))
        headers = {"Content-Type": kind, "Content-Length": str(size)}
        answer = await self._ask("POST", path, data=body, headers=headers)
        return await self._watch(answer["id"], "checking (rows)", CHECKED, lambda one: (one["checked"], one["rows"]))

    async def store(self, shown: dict[str, Any]) -> dict[str, Any]:
        body = {"accept_errors": self._order.accept_errors, "confirm_removal": self._order.confirm_removal}
        try:
            await self._ask("POST", f"/v1/imports/{shown['id']}/confirm", json=body)
        except Failed:
            await self.drop(shown)
            raise
        total = shown["rows"]
        return await self._watch(shown["id"], "storing (rows)", OVER, lambda one: (one["stored"], total))

    async def drop(self, shown: dict[str, Any]) -> dict[str, Any]:
        """Nothing is left at the service but its memory of it."""
        if shown["state"] in ("valid", "invalid"):
            await self._ask("DELETE", f"/v1/imports/{shown['id']}")
        return shown

    async def _watch(
        self, id_: str, what: str, states: tuple[str, ...], far: Callable[[dict[str, Any]], tuple[int, int | None]]
    ) -> dict[str, Any]:
        bar = self._progress.add_task(what, total=None)
        while True:
            shown = await self._ask("GET", f"/v1/imports/{id_}")
            done, total = far(shown)
            self._progress.update(bar, completed=done, total=total)
            if shown["state"] in states:
                return shown
            await asyncio.sleep(ASK_EVERY_S)

    async def _blocks(self, sent: Callable[[int], None]) -> AsyncIterator[bytes]:
        with self._order.file.open("rb") as file:
            while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
                yield block
                sent(len(block))

    async def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        async with self._session.request(method, self._order.url.rstrip("/") + path, **more) as answer:
            raw = await answer.read()
            try:
                body: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any]) if raw else {}
            except msgspec.DecodeError:
                raise Failed(f"{self._order.url} answers {answer.status}, and not as this service does") from None
            if answer.status >= 400:
                raise Failed(str(body.get("detail", f"the service answers {answer.status}")))
            return body


def _print(shown: dict[str, Any], console: Console, stored: bool) -> None:
    """What came of it, and what is wrong: values from the file are text, never markup."""
    for warning in shown["warnings"]:
        console.print(_plain(f"warning: {warning}"))
    if shown["errors"]:
        table = Table("row", "column", "what is wrong")
        for one in shown["errors"][:SHOWN_ERRORS]:
            table.add_row(str(one["row"] or ""), _plain(one["column"]), _plain(one["reason"]))
        console.print(table)
        beyond = shown["error_count"] - min(len(shown["errors"]), SHOWN_ERRORS)
        if beyond > 0:
            console.print(f"{beyond} more errors: GET /v1/imports/{shown['id']}/errors.csv has all", markup=False)
    counts = shown["result"] if stored else shown["counts"]
    if counts:
        what = ", ".join(f"{count} {name}" for name, count in counts.items())
        console.print(
            f"{shown['state']}: {what}" if stored else f"{shown['state']}, nothing stored: {what}", markup=False
        )
    else:
        console.print(_plain(f"{shown['state']}: {shown['reason'] or 'nothing to import'}"))


def _plain(text: str) -> Text:
    return Text("".join(one if one.isprintable() else "\ufffd" for one in text))
