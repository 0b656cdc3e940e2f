"""Given a campaign whose CRM is to be told, and a CRM that fails in every way they do, then each call is told of."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from adapters.crm import Credential
from adapters.notify import Targets
from engine.core.campaign import CampaignDeleted, SettingsChanged
from tests.adapters.crm.office import Office, Receiver
from tests.adapters.notify.house import Clock, until

HOUR_MS = 3_600_000


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    await one.start()
    yield one
    await one.stop()


def at(receiver: Receiver, path: str = "/calls/{call.id}", host: str = "127.0.0.1") -> str:
    return f"http://{host}:{receiver.port}{path}"


# -- what is sent -----------------------------------------------------------------------------------------------------

EVERYTHING = {
    name: f"{{{name}}}"
    for name in (
        *("campaign.ref", "campaign.name", "contact.ref", "contact.name", "contact.number", "contact.external_id"),
        *("contact.data.plan", "disposition.external_id"),
        *("call.id", "call.number", "agent.id", "agent.name", "disposition.code", "disposition.label"),
    )
}


async def test_OM_04_every_placeholder_has_its_value(receiver: Receiver) -> None:
    office = Office()
    async with office.at_work():
        fields = {"fields": EVERYTHING, "method": "POST", "format": "json"}
        office.campaign("sales", at(receiver), "disposition", {"plan": "family & friends"}, **fields)
        named = {"dispositions": [{"code": "engaged", "label": "Engaged", "engaged": True, "external_id": "D1"}]}
        office.write("sales", SettingsChanged(at=1, old={}, new=named, by="manager"))
        call = office.talk("sales")
        await office.settled(1)
    assert receiver.taken[0].path == f"/calls/{call}"
    assert msgspec.json.decode(receiver.taken[0].body) == {
        "campaign.ref": "sales",
        "campaign.name": "Sales",
        "contact.ref": "sales:1",
        "contact.name": "Person 1",
        "contact.number": "+49300001",
        "contact.external_id": "crm-1",
        "contact.data.plan": "family & friends",
        "call.id": call,
        "call.number": "+49400001",
        "agent.id": "ann",
        "agent.name": "Ann",
        "disposition.code": "engaged",
        "disposition.label": "Engaged",
        "disposition.external_id": "D1",
    }


@pytest.mark.parametrize(
    ("method", "format_", "kind"),
    [
        ("GET", "query", None),
        ("POST", "query", None),
        ("POST", "form", "application/x-www-form-urlencoded"),
        ("POST", "json", "application/json"),
    ],
)
async def test_OM_04_each_method_and_format_arrives(
    receiver: Receiver, method: str, format_: str, kind: str | None
) -> None:
    hostile = "a&b=c\r\nX: y\"'{}<ü>%0d%0a../"
    office = Office()
    async with office.at_work():
        fields = {"who": "{contact.data.note}", "fixed": "a b"}
        office.campaign(
            "sales", at(receiver), "server", {"note": hostile}, method=method, format=format_, fields=fields
        )
        office.talk("sales")
        await office.settled(1)
    (one,) = receiver.taken
    assert (one.method, one.headers.get("Content-Type")) == (method, kind)
    assert one.headers["User-Agent"].startswith("Ringfold")
    expected = {"who": hostile, "fixed": "a b"}
    if format_ == "query":
        assert (one.query, one.body) == (expected, b"")
    elif format_ == "form":
        assert {name: value for name, (value,) in parse_qs(one.body.decode()).items()} == expected
    else:
        assert msgspec.json.decode(one.body) == expected


async def test_OM_04_headers_and_the_named_credential_go_along(receiver: Receiver) -> None:
    office = Office()
    office.credentials["sales"] = Credential(header="X-Api-Token", value="very secret", hosts=frozenset({"127.0.0.1"}))
    async with office.at_work():
        headers = {"X-Source": "dialer", "x-api-token": "mine"}
        office.campaign("sales", at(receiver), headers=headers, credential="sales")
        office.talk("sales")
        await office.settled(1)
    sent = receiver.taken[0].headers
    assert (sent["X-Source"], sent["X-Api-Token"]) == ("dialer", "very secret")
    assert "mine" not in sent.values()
    assert b"very secret" not in msgspec.json.encode(office.tried)
    assert "very secret" not in repr(office.credentials)


async def test_OM_04_a_credential_goes_to_no_host_but_its_own(receiver: Receiver) -> None:
    office = Office(retry_first_ms=60_000, retry_max_ms=60_000)
    office.credentials["sales"] = Credential(header="X-Key", value="secret", hosts=frozenset({"crm.example"}))
    async with office.at_work():
        office.campaign("sales", at(receiver), credential="sales")
        office.talk("sales")
        await until(lambda: bool(office.tried))
    assert not receiver.requests
    assert "there is no credential 'sales' for this host" in office.tried[0].error


# -- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "count"), [("server", 1), ("disposition", 1), ("automatic", 0), ("agent_button", 0)]
)
async def test_OM_04_the_service_calls_on_its_own_triggers_only(receiver: Receiver, trigger: str, count: int) -> None:
    office = Office()
    async with office.at_work():
        office.campaign("other", at(receiver, "/marker"))
        office.campaign("sales", at(receiver), trigger)
        office.talk("sales")
        await until(
            lambda: office.crm._follower.seen.get("campaign/sales") == len(office.shelf.events["campaign/sales"])
        )
        office.talk("other")
        await office.settled(1 + count)
    assert sum(one.path != "/marker" for one in receiver.taken) == count
    assert {one.trigger for one in office.tried if one.campaign == "sales"} == ({trigger} if count else set())


async def test_OM_03_with_the_form_the_crm_is_not_called(receiver: Receiver) -> None:
    office = Office()
    async with office.at_work():
        office.campaign("sales", at(receiver))
        change = SettingsChanged(at=1, old={"interaction": "external_url"}, new={"interaction": "form"}, by="m")
        office.write("sales", change)
        office.talk("sales")
        office.campaign("other", at(receiver, "/marker"))
        await until(
            lambda: office.crm._follower.seen.get("campaign/sales") == len(office.shelf.events["campaign/sales"])
        )
        office.talk("other")
        await office.settled(1)
    assert [one.path for one in receiver.taken] == ["/marker"]


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [[500, 404, 302], [0], [503, 0, 500]])
async def test_OM_04_what_is_not_taken_is_tried_again_as_the_same(receiver: Receiver, failures: list[int]) -> None:
    receiver.script.extend(failures)
    receiver.headers = {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"}
    office = Office()
    async with office.at_work():
        office.campaign("sales", at(receiver), method="POST", format="json", fields={"call": "{call.id}"})
        call = office.talk("sales")
        await office.settled(1)
    tries = len(failures) + 1
    assert len(receiver.requests) == tries
    assert len({(one.method, one.path, one.key, one.body) for one in receiver.requests}) == 1  # nor a redirect followed
    assert receiver.requests[0].key == '"sales:7"'
    assert office.results() == ["failed"] * len(failures) + ["delivered"]
    (row,) = office.crm.of_call(call)
    assert (row["status"], row["attempts"], row["http_status"], row["last_error"]) == ("delivered", tries, 200, None)


async def test_pauses_double_up_to_their_bound_and_the_receiver_may_ask_for_more(receiver: Receiver) -> None:
    receiver.script.extend([500] * 6)
    office = Office(retry_first_ms=4, retry_max_ms=20, retry_jitter=0.0)
    async with office.at_work():
        office.campaign("sales", at(receiver))
        office.talk("sales")
        await office.settled(1)
        planned = [one.retry_at - one.at for one in office.tried[:-1]]
        assert planned == [4, 8, 16, 20, 20, 20]
        receiver.script.append(503)
        receiver.headers = {"Retry-After": "3600000"}
        office.talk("sales", 2)
        await until(lambda: len(office.tried) == 8)
        assert 0.99 * HOUR_MS <= office.tried[-1].retry_at - office.tried[-1].at <= HOUR_MS  # bounded too


async def test_OM_04_what_is_too_old_is_parked_and_said(receiver: Receiver) -> None:
    receiver.always = 500
    office = Office(give_up_after_ms=150)
    async with office.at_work():
        office.campaign("sales", at(receiver))
        call = office.talk("sales")
        await office.settled(1)
        (row,) = office.crm.of_call(call)
        assert (row["status"], row["http_status"], row["last_error"]) == ("parked", 500, "HTTP 500")
        assert row["attempts"] == len(receiver.requests) > 1
        receiver.always = 200
        other = office.talk("sales", 2)
        await office.settled(2)  # what comes later isn't touched by it
        assert office.crm.of_call(other)[0]["status"] == "delivered"


async def test_what_was_too_old_at_a_start_is_not_sent_any_more(receiver: Receiver) -> None:
    office = Office()
    office.campaign("sales", at(receiver))
    office.talk("sales", at=Clock().now_ms() - 25 * HOUR_MS)
    async with office.at_work():
        await office.settled(1)
    assert (office.results(), receiver.requests) == (["parked"], [])


async def test_OM_04_a_mended_address_heals_what_waits_at_once(receiver: Receiver) -> None:
    office = Office(retry_first_ms=60_000, retry_max_ms=60_000)
    async with office.at_work():
        office.campaign("sales", "http://127.0.0.1:1/nobody")
        office.talk("sales")
        await until(lambda: len(office.tried) == 1)
        assert office.tried[0].error == "no connection"
        office.change("sales", url=at(receiver, "/mended"))
        await office.settled(1)
    assert [one.path for one in receiver.taken] == ["/mended"]


async def test_OM_04_what_the_settings_want_no_more_is_dropped(receiver: Receiver) -> None:
    receiver.always = 500
    office = Office()
    async with office.at_work():
        office.campaign("sales", at(receiver))
        call = office.talk("sales")
        await until(lambda: bool(office.tried))
        office.change("sales", trigger="agent_button")
        await office.settled(1)
        assert office.crm.of_call(call)[0]["status"] == "dropped"
        count = len(receiver.requests)
        await asyncio.sleep(0.1)
        assert len(receiver.requests) == count


async def test_a_deleted_campaigns_interactions_end_with_it(receiver: Receiver) -> None:
    receiver.always = 500
    office = Office()
    async with office.at_work():
        office.campaign("sales", at(receiver))
        office.talk("sales")
        await until(lambda: bool(office.tried))
        office.write("sales", CampaignDeleted(at=1, by="manager"))
        await until(lambda: not office.crm._dispatch or not office.crm._dispatch.waiting)
        assert office.crm._dispatch is not None
        assert office.crm._dispatch._count == 0
        await until(lambda: office.shelf.checkpoints.get(("crm", "campaign/sales")) == 11)
        calls = {one.call for one in office.tried}
        assert [office.crm.of_call(one) for one in calls] == [[] for _ in calls]  # nor is anything of them kept


async def test_a_huge_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.answer = b"x" * 5_000_000
    office = Office()
    async with office.at_work():
        office.campaign("sales", at(receiver))
        for contact in range(1, 4):
            office.talk("sales", contact)
        await office.settled(3)
    assert office.results() == ["delivered"] * 3


async def test_a_crm_that_does_not_answer_keeps_no_other_waiting(receiver: Receiver) -> None:
    dead = Receiver(always=0)
    await dead.start()
    office = Office(max_requests=4, max_requests_per_campaign=2, request_timeout_ms=60_000)
    async with office.at_work():
        office.campaign("dead", at(dead))
        office.campaign("sales", at(receiver))
        for contact in range(1, 20):
            office.talk("dead", contact)
        await until(lambda: len(dead.requests) == 2)
        for contact in range(1, 20):
            office.talk("sales", contact)
        await office.settled(19)
        assert (dead.most_at_once, len(dead.requests)) == (2, 2)
        assert receiver.most_at_once <= 2
        office.crm._limits = msgspec.structs.replace(office.limits, stop_grace_ms=0)
    await dead.stop()


async def test_campaigns_take_turns_where_requests_are_few(receiver: Receiver) -> None:
    office = Office(max_requests=1)
    async with office.at_work():
        for ref in ("sales", "spring", "autumn"):
            office.campaign(ref, at(receiver, f"/{ref}"))
            for contact in range(1, 11):
                office.talk(ref, contact)
        await office.settled(30)
    order = [one.path for one in receiver.taken]
    assert receiver.most_at_once == 1
    assert {order.index(f"/{ref}") < 6 for ref in ("sales", "spring", "autumn")} == {True}


async def test_where_too_many_wait_the_logs_are_read_on_only_when_some_are_settled(receiver: Receiver) -> None:
    receiver.always = 500
    office = Office(max_waiting=5)
    async with office.at_work():
        office.campaign("sales", at(receiver))
        calls = [office.talk("sales", contact) for contact in range(1, 21)]
        await until(lambda: len({one.call for one in office.tried}) == 5)
        await asyncio.sleep(0.1)
        assert len({one.call for one in office.tried}) == 5
        receiver.always = 200
        await office.settled(20)
    assert sorted(one.path.rpartition("/")[2] for one in receiver.taken) == sorted(calls)


# -- restarts ---------------------------------------------------------------------------------------------------------


async def test_OM_04_no_call_is_lost_or_told_again_over_restarts_and_crashes(receiver: Receiver) -> None:
    """Given restarts and crashes at any moment and a CRM that fails now and then, each is taken, and nothing afterwards."""
    office = Office()
    calls: list[str] = []
    async with office.at_work():
        office.campaign("sales", at(receiver))
        for turn in range(12):
            receiver.script.extend([500, 200, 0] if turn % 3 else [503])
            calls += [office.talk("sales", 3 * turn + one) for one in (1, 2, 3)]
            if turn % 2:
                await asyncio.sleep(0.005 * turn)
                await office.crash()
            else:
                await asyncio.sleep(0.01)
                await office.crm.stop()
                office.crm = office.new()
                office.crm.start()
        await office.settled(len(calls))
        taken = [one.path.rpartition("/")[2] for one in receiver.taken]
        assert set(taken) == set(calls)
        assert len({one.key for one in receiver.taken}) == len(calls)
        await until(
            lambda: (
                office.shelf.checkpoints.get(("crm", "campaign/sales")) == len(office.shelf.events["campaign/sales"])
            )
        )
        told = len(receiver.requests)
        await office.crash()
        office.talk("sales", 40)
        await office.settled(len(calls) + 1)
        assert len(receiver.requests) == told + 1


async def test_attempts_are_counted_on_over_a_restart(receiver: Receiver) -> None:
    receiver.always = 500
    office = Office()
    async with office.at_work():
        office.campaign("sales", at(receiver))
        call = office.talk("sales")
        await until(lambda: len(office.tried) >= 3)
        await office.crash()
        await until(lambda: len(office.tried) >= 6)
        receiver.always = 200
        await office.settled(1)
        assert [one.attempts for one in office.tried] == list(range(1, len(office.tried) + 1))
        # What is shown follows the log by a moment.
        await until(lambda: office.crm.of_call(call)[0]["attempts"] == len(office.tried))


async def test_hints_that_are_lost_or_too_many_cost_nothing_but_a_look_into_the_store(receiver: Receiver) -> None:
    office = Office(sweep_ms=30, pending_events=5)
    async with office.at_work():
        office.campaign("sales", at(receiver))
        office.talk("sales", 1, told=False)
        office.talk("sales", 2)
        office.talk("sales", 3, told=False)
        await office.settled(3)
    assert len(receiver.taken) == 3


async def test_a_store_that_is_away_for_a_moment_is_waited_for(receiver: Receiver) -> None:
    office = Office()
    async with office.at_work():
        office.campaign("sales", at(receiver))
        office.shelf.refusals = 3
        office.talk("sales")
        await office.settled(1)
    assert len(receiver.taken) == 1


async def test_where_no_host_is_allowed_nothing_is_opened_or_read(receiver: Receiver) -> None:
    office = Office()
    office.hosts = ()
    async with office.at_work():
        office.campaign("sales", at(receiver))
        office.talk("sales")
        await asyncio.sleep(0.05)
    assert not office.shelf.reads
    assert "crm" not in office.shelf.events


# -- where it may go --------------------------------------------------------------------------------------------------

GUARDED = [
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "017700000001",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "0.0.0.0",
    "169.254.169.254",
    "10.0.0.1",
    "[fe80::1]",
    "[fd00::1]",
]


@pytest.mark.parametrize("host", GUARDED)
async def test_OM_04_even_a_listed_host_does_not_lead_inside(receiver: Receiver, host: str) -> None:
    """Given an operator who listed a name that leads (now) to a private address, then nothing connects to it."""
    office = Office(retry_first_ms=60_000, retry_max_ms=60_000)
    office.hosts = (host.strip("[]"),)
    office.targets = Targets(allow_private=False, allow_http=True)
    async with office.at_work():
        office.campaign("sales", at(receiver, host=host))
        office.talk("sales")
        await until(lambda: bool(office.tried))
    assert not receiver.requests
    assert office.tried[0].status == 0
    assert office.tried[0].error


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
async def test_OM_04_a_host_that_is_listed_no_more_is_not_called(receiver: Receiver, host: str) -> None:
    office = Office(retry_first_ms=60_000, retry_max_ms=60_000)
    office.hosts = ("crm.example",)
    async with office.at_work():
        office.campaign("sales", at(receiver, host=host))
        office.talk("sales")
        await until(lambda: bool(office.tried))
    assert not receiver.requests
    assert office.tried[0].error == f"the operator has not listed the host {host!r} in [crm] hosts"


@pytest.mark.parametrize(
    "value", ["//evil.example", "@evil.example/", "../../..", "\\\\evil.example", ":1/", "?x", "#x"]
)
async def test_OM_04_data_does_not_change_where_a_call_goes(receiver: Receiver, value: str) -> None:
    office = Office()
    async with office.at_work():
        office.campaign("sales", at(receiver, "/{contact.data.v}/end?q={contact.data.v}"), data={"v": value})
        office.talk("sales")
        await office.settled(1)
    (one,) = receiver.taken
    assert one.query == {"q": value}
    assert one.path.partition("?")[0].count("/") == 2


def rows(crm: Any, call: str) -> list[Any]:
    return [(one["trigger"], one["status"]) for one in crm.of_call(call)]


async def test_what_waits_untried_is_shown_as_pending(receiver: Receiver) -> None:
    receiver.always = 0
    office = Office(max_requests=1, request_timeout_ms=60_000, stop_grace_ms=0)
    async with office.at_work() as crm:
        office.campaign("sales", at(receiver))
        first, second = office.talk("sales", 1), office.talk("sales", 2)
        await until(lambda: len(receiver.requests) == 1 and bool(rows(crm, second)))
        assert (rows(crm, first), rows(crm, second)) == ([("server", "pending")], [("server", "pending")])
        assert rows(crm, "unknown") == []


async def test_OM_04_a_clock_that_is_put_back_makes_no_wait_longer(receiver: Receiver) -> None:
    receiver.script.extend((500, 500))
    office = Office(retry_first_ms=200, retry_max_ms=200)
    async with office.at_work():
        office.campaign("sales", at(receiver))
        office.talk("sales")
        await until(lambda: len(office.tried) == 1)
        office.clock.put_by_ms = -HOUR_MS
        await office.settled(1)
        office.talk("sales", 2, at=Clock().now_ms())  # of the time before the clock was put back
        await office.settled(2)
    assert office.results().count("delivered") == 2
