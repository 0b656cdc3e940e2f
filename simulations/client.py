"""A small client of the HTTP surface, as an integrator would write one."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

RETRY_BUSY = 20
"""How often a 503 is tried again, after the time that it names."""
RECONNECT_AFTER_S = 0.05
LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
"""The connection ended before the answer did. Whether a command was acted on is then unknown: look before asking again."""


class Problem(Exception):
    """The service refused: RFC 9457's body."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body.get('type', '')}: {body.get('detail', '')} {body.get('errors', '')}")
        self.status, self.body = status, body

    @property
    def code(self) -> str:
        return str(self.body.get("type", "")).rpartition("/")[2]


class Restored(Exception):
    """The service was restored from a backup: it knows nothing of the last that it told."""


class Client:
    """One principal's view of the service: `base` such as http://127.0.0.1:8080, and their token."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str) -> None:
        self._session = session
        self._base = base
        self._headers = {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The decoded JSON answer, None for 204. Raises Problem, and LOST where no answer came.

        A 503 is tried again, for it says that nothing was done; after a lost connection nobody knows, so nothing is.
        """
        for attempt in range(RETRY_BUSY + 1):
            async with self._session.request(
                method, self._base + path, json=body, headers={**self._headers, **(headers or {})}
            ) as answer:
                if answer.status == 503 and attempt < RETRY_BUSY:
                    await answer.read()
                    await asyncio.sleep(float(answer.headers.get("Retry-After", "1")) / 10)
                    continue
                return await _decoded(answer)
        raise AssertionError("unreachable")

    async def ndjson(self, path: str, rows: list[dict[str, Any]]) -> Any:
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        headers = {**self._headers, "Content-Type": "application/x-ndjson"}
        async with self._session.post(self._base + path, data=lines.encode(), headers=headers) as answer:
            return await _decoded(answer)

    async def events(self, query: str) -> AsyncIterator[dict[str, Any]]:
        """Notifications by SSE, until the server or the caller closes.

        Beside them `gap` and `restored`, with `detail` and the `cursor` behind it: see docs/notifications.md.
        """
        headers = {**self._headers, "Accept": "text/event-stream"}
        no_limit = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with self._session.get(f"{self._base}/v1/events?{query}", headers=headers, timeout=no_limit) as answer:
            if answer.status != 200:
                await _decoded(answer)
            data: list[str] = []
            name = cursor = ""
            async for line in answer.content:
                field, _, value = line.decode().rstrip("\r\n").partition(":")
                match field:
                    case "data":
                        data.append(value.lstrip())
                    case "event":
                        name = value.strip()
                    case "id":
                        cursor = value.strip()
                    case "" if not value and data:  # else a comment: the heartbeat
                        told = json.loads("\n".join(data))
                        yield told | {"gap": name, "cursor": cursor} if name else told
                        data, name = [], ""

    async def follow(self, query: str, after: str = "") -> AsyncIterator[dict[str, Any]]:
        """Notifications behind a cursor, across restarts of the service: from the last one seen, none left out.

        What left the service's store is passed over. Raises Restored: what was told is undone, begin anew.
        """
        while True:
            try:
                async for event in self.events(f"after={after}&{query}"):
                    after = event["cursor"]
                    if event.get("gap") == "restored":
                        raise Restored(event["detail"])
                    if "gap" not in event:
                        yield event
            except LOST:
                pass
            except Problem as problem:
                if problem.status != 503:
                    raise
            await asyncio.sleep(RECONNECT_AFTER_S)


async def _decoded(answer: aiohttp.ClientResponse) -> Any:
    raw = await answer.read()
    body = json.loads(raw) if raw else None
    if answer.status >= 400:
        raise Problem(answer.status, body if isinstance(body, dict) else {"detail": raw.decode(errors="replace")})
    return body
