"""Lists in pages: every row once, by cursors that are the list's own."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import cursor
from api.problem import Problem
from tests.adapters.importer.files import csv_of
from tests.api.asking import ask, problem
from tests.world import World

LISTS = {
    "/v1/campaigns": "campaigns",
    "/v1/agents": "agents",
    "/v1/external/suite": "ids",
    "/v1/mappings": "mappings",
    "/v1/tags": "tags",
    "/v1/retention": "campaigns",
    "/v1/imports": "imports",
}
NEWEST_FIRST = {"/v1/tokens/revoked": "revoked"}
LIVING = {"/v1/webhooks": ("webhooks", "id"), "/v1/webhooks/hook0/deliveries": ("deliveries", "at")}
"""What they show goes on changing."""
ROWS = 5


async def pages(service: World, path: str, field: str, limit: int = 2) -> list[list[object]]:
    """All pages of a list, walked with `next`."""
    found, after = [], ""
    while True:
        page = (await ask(service, "GET", f"{path}?limit={limit}&after={after}")).body
        found.append(page[field])
        if page["next"] is None:
            return found
        after = page["next"]


async def test_every_list_that_grows_comes_in_pages(service: World) -> None:
    for one in range(ROWS):
        await service.campaign(f"c{one}", [], agents=(f"agent{one}",))
        await service.manager.call("PUT", f"/v1/external/suite/agent/7ü{one}", {"ref": f"agent{one}"})
        await service.admin.call("PUT", f"/v1/webhooks/hook{one}", {"url": "http://127.0.0.1:9/"})
        await service.admin.call("PUT", f"/v1/mappings/map{one}", {"columns": {"Phone": "number1"}})
        await service.admin.call("PUT", f"/v1/tags/tag{one}")
        await service.admin.call("POST", "/v1/tokens/revoke", {"subject": f"gone{one}"})
        await service.admin.call("POST", "/v1/webhooks/hook0/ping", {})
        raw, headers = csv_of(("number1",), ("+573105822141",)), {"Content-Type": "text/csv"}
        path = f"/v1/imports?campaign=c0&mode=add&name={one}.csv"
        assert (await ask(service, "POST", path, raw=raw, headers=headers)).status == 202
    for path, field in {**LISTS, **NEWEST_FIRST}.items():
        found = await pages(service, path, field)
        assert all(len(one) == 2 for one in found[:-1])
        assert len(found) == 3, path
        rows = [one for page in found for one in page]
        assert rows == (await ask(service, "GET", path)).body[field]
        assert len(rows) == ROWS
    for path, (field, key) in LIVING.items():
        found = await pages(service, path, field)
        told = [one[key] for page in found for one in page]  # type: ignore[index]  # JSON's objects
        assert told == sorted(told, reverse=key == "at")
        assert len(told) >= ROWS


async def test_rows_that_come_and_go_between_two_pages_hide_no_other(service: World) -> None:
    for ref in "bdfh":
        await service.manager.call("PUT", f"/v1/campaigns/{ref}", {"name": ref})
    first = (await ask(service, "GET", "/v1/campaigns?limit=2")).body
    await service.manager.call("DELETE", "/v1/campaigns/b")
    await service.until(lambda: "b" not in service.service.engine.campaigns)
    for ref in "ag":
        await service.manager.call("PUT", f"/v1/campaigns/{ref}", {"name": ref})
    rest = (await ask(service, "GET", f"/v1/campaigns?limit=5&after={first['next']}")).body
    assert [one["ref"] for one in first["campaigns"] + rest["campaigns"]] == ["b", "d", "f", "g", "h"]


async def test_a_cursor_that_was_altered_or_is_another_lists_is_a_problem(service: World) -> None:
    await service.campaign("spring", [["15550001"], ["15550002"]], agents=("agent1", "agent2"))
    good = (await ask(service, "GET", "/v1/campaigns/spring/contacts?limit=1")).body["next"]
    raw = urlsafe_b64decode(good + "=" * (-len(good) % 4))
    moved = urlsafe_b64encode(raw[:-1] + b"2").decode().rstrip("=")
    for path in ("/v1/campaigns/spring/contacts", "/v1/campaigns/spring/calls", *LISTS):
        wrong = ["1", "0", "x", "xyzzy", moved, good[:-1], good + "A", good + "=", "%00", "%C3%A9"]
        if not path.endswith("/contacts"):
            wrong.append(good)
        for one in wrong:
            answer = await ask(service, "GET", f"{path}?after={one}")
            if one == "%00":
                problem(answer, 422, "invalid-request")
            else:
                problem(answer, 400, "bad-cursor")
            assert answer.fields == ["after"]


@given(st.text(max_size=100), st.text(max_size=100), st.text(max_size=100))
def test_a_cursor_is_read_as_it_was_written_and_by_its_own_list_alone(address: str, other: str, place: str) -> None:
    made = cursor.written(address, place)
    assert cursor.read(address, made) == place
    if address != other:
        with pytest.raises(Problem):
            cursor.read(other, made)


@given(st.binary(max_size=40))
def test_no_other_text_is_a_cursor(raw: bytes) -> None:
    text = urlsafe_b64encode(raw).decode().rstrip("=")
    if text:
        with pytest.raises(Problem):
            cursor.read("/v1/campaigns", text)


@given(st.sets(st.text(min_size=1, max_size=3)), st.integers(1, 4))
def test_pages_have_every_row_once_in_order(rows: set[str], limit: int) -> None:
    seen, after = [], ""
    while True:
        found, following = cursor.page(rows, str, after, limit)
        seen += found
        if following is None:
            break
        after = following
    assert seen == sorted(rows)
