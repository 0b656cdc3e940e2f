"""Bad input: a problem that names the field and the reason; nothing stored, nothing sent."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.app import ROUTES
from simulations.pbx import SimulatedPbx
from tests.api.asking import JSON, NDJSON, Untouched, ask, problem, token_of
from tests.world import World

NONE = "0" * 32
SECRET = "whsec_" + "QUJD" * 10
SPRING, CONTACTS, AGENT1 = "/v1/campaigns/spring", "/v1/campaigns/spring/contacts", "/v1/agents/agent1"
NEW, SEAT, HOOK = "/v1/campaigns/new", "/v1/campaigns/spring/agents/agent1", "/v1/webhooks/crm"
CANCEL = f"{CONTACTS}/spring:1/cancel"
HELD = f"/v1/reservations/{NONE}"

GOOD: dict[tuple[str, str], dict[str, Any]] = {
    ("PUT", NEW): {"name": "New", "mode": "preview", "settings": {}},
    ("PATCH", SPRING): {"name": "New", "settings": {}, "state": "running", "force": False},
    ("PUT", SEAT): {"default_state": "available", "weight": 1, "line": "nailed"},
    ("PUT", AGENT1): {"name": "One", "phone": "agent1"},
    ("PATCH", AGENT1): {"state": "paused", "reason": "lunch", "campaign": "spring"},
    ("POST", f"{AGENT1}/next"): {"campaign": "spring"},
    ("POST", CANCEL): {"reason": "asked to"},
    ("POST", f"{HELD}/dial"): {"token": NONE, "number": "15550001", "agent": "agent1"},
    ("POST", f"{HELD}/extend"): {"token": NONE, "agent": "agent1"},
    ("POST", f"{HELD}/skip"): {"token": NONE, "reason": "later", "agent": "agent1"},
    ("POST", f"{HELD}/release"): {"token": NONE, "reason": "later", "agent": "agent1"},
    ("POST", f"{HELD}/disposition"): {"token": NONE, "disposition": "engaged", "agent": "agent1"},
    ("PUT", HOOK): {
        "url": "http://127.0.0.1:9/",
        "secret": SECRET,
        "types": ["call.ended"],
        "campaigns": ["spring"],
        "batch": {"max_items": 10, "max_wait_ms": 100},
    },
    ("POST", "/v1/events/tickets"): {"campaign": "spring", "types": "call.ended"},
    ("POST", f"{HOOK}/rotate"): {"secret": SECRET, "grace_s": 60},
    ("POST", f"{HOOK}/resume"): {},
    ("POST", f"{HOOK}/ping"): {},
    ("POST", f"{HOOK}/test"): {"type": "call.ended"},
    ("POST", f"{HOOK}/replay"): {"after": ""},
    ("POST", "/v1/calls"): {
        "request_id": "r1",
        "campaign": "spring",
        "agent": "agent1",
        "contact": "spring:1",
        "number": "15550001",
        "external_system": "suite",
    },
    ("POST", f"/v1/calls/{NONE}/disposition"): {"disposition": "engaged"},
    ("POST", f"{SPRING}/dispositions"): {
        "contacts": ["spring:1"],
        "calls": [NONE],
        "disposition": "no_contact",
        "data": {},
    },
    ("POST", "/v1/campaigns/later/from-outcomes"): {
        "name": "Later",
        "source": ["spring"],
        "select": {"uncalled": True},
        "settings": {},
    },
    ("POST", "/v1/dnc"): {"numbers": ["+15550001"], "until": "2030-01-01T00:00:00Z"},
    ("POST", "/v1/campaigns/spring/dnc"): {"numbers": ["+15550001"], "until": "2030-01-01T00:00:00Z"},
    ("PUT", "/v1/external/suite/agent/7"): {"ref": "agent1"},
    ("PUT", "/v1/mappings/crm"): {"columns": {"Phone": "number1"}},
    ("POST", f"/v1/imports/{NONE}/confirm"): {"accept_errors": False, "confirm_removal": False},
    ("POST", "/v1/persons/erase"): {"number": "15550001", "suppress": False, "after_call": False},
    ("POST", "/v1/persons/export"): {"contact": "spring:1"},
    ("POST", "/v1/sessions"): {"ttl_s": 60},
    ("POST", "/v1/tokens/revoke"): {"jti": NONE, "subject": "agent1"},
}
"""Every address that takes a JSON object, with every field it takes."""

REQUIRED = {"name", "phone", "url", "type", "token", "disposition", "after", "columns"}
TEXT = {
    "nul": "a\x00b",
    "newline": "a\r\nAction: Originate",
    "escape": "a\x1bb",
    "next line": "a\x85b",
    "surrogate": "a\ud800b",
    "expression": "${SHELL(id)}",
    "too long": "9" * 3_000,
}
STRICT = {
    "comma": "15550001,15550002",
    "ampersand": "15550001&PJSIP/evil",
    "expression": "${EXTEN}",
    "slash": "PJSIP/evil",
    "space": "a b",
}
"""What no name of a thing and no number may hold. Names of people may hold commas and ampersands: see below."""
LOOKED_UP = {("/v1/calls", "campaign"), ("/v1/calls", "agent"), ("/v1/calls", "contact")}
"""May be ids of an external system, which hold what they like: what isn't known isn't found."""
FREE = {"name", "reason", "disposition", "url", "after"}


def cases() -> Iterator[Any]:
    for (method, path), good in GOOD.items():
        place = f"{method} {path}"
        for field, value in good.items():
            wrong: dict[str, Any] = {"a number": 17, "a list": [[1]], "an object": {"a": {}}, "true": True}
            if isinstance(value, bool):
                wrong = {"a number": 17, "text": "yes"}
            elif isinstance(value, int):
                wrong = {"text": "1", "a fraction": 1.5, "negative": -1, "huge": 10**30}
            elif isinstance(value, str):
                wrong |= TEXT
                if field in ("reason", "after", "url", "disposition"):
                    wrong.pop("expression")  # a reason is told to people, the others are looked up or called
                if (path, field) in LOOKED_UP:
                    wrong.pop("expression")
                elif field not in FREE:
                    wrong |= STRICT
            elif isinstance(value, list):
                wrong = {"text": "x", "of numbers": [1], "of control characters": ["a\n"], "of commas": ["a,b"]}
            else:
                wrong = {"text": "x", "a list": [], "an unknown key": {"xyzzy": 1}}
            for what, bad in wrong.items():
                yield pytest.param(method, path, good | {field: bad}, field, id=f"{place} {field}: {what}")
            if field in REQUIRED and method != "PATCH" and not (field == "token" and path.endswith("/release")):
                rest = {key: one for key, one in good.items() if key != field}
                yield pytest.param(method, path, rest, field, id=f"{place} {field}: missing")
        yield pytest.param(method, path, good | {"xyzzy": 1}, "xyzzy", id=f"{place}: unknown field")
        yield pytest.param(method, path, good | {"a\x00": 1}, r"'a\x00'", id=f"{place}: NUL in a key")
        yield pytest.param(method, path, good | {"\udfff": 1}, r"'\udfff'", id=f"{place}: surrogate in a key")
        documents: list[Any] = [[], "x", 17, True, None]
        for whole in documents:
            yield pytest.param(method, path, whole, "body", id=f"{place}: the body is {whole!r}")


@pytest.fixture
async def spring(service: World) -> World:
    await service.campaign("spring", [["15550001"]])
    await service.admin.call("PUT", HOOK, GOOD["PUT", HOOK])
    return service


def test_every_address_that_takes_a_body_is_here() -> None:
    bodiless = {"immutable", "hang_up", "add_contacts", "upload", "put_tag"}  # tested by themselves
    taking = {r.handler.__name__ for r in ROUTES if r.method in ("PUT", "POST", "PATCH")} - bodiless
    assert len(taking) <= len(GOOD)
    assert len([r for r in ROUTES if r.method in ("PUT", "POST", "PATCH") and r.handler.__name__ in taking]) == len(
        GOOD
    )


async def test_a_wrong_field_is_named_and_nothing_happens(spring: World, pbx: SimulatedPbx) -> None:
    """Every field of every body, wrong in every way that it can be."""
    untouched = Untouched(spring, pbx)
    tried = 0
    for case in cases():
        method, path, body, field = case.values
        answer = await ask(spring, method, path, raw=json.dumps(body).encode())
        assert answer.status == 422, (case.id, answer.raw[:500])
        problem(answer, 422, "invalid-request")
        assert answer.fields, case.id
        assert answer.fields[0].split("[")[0].split(".")[0] == field or answer.fields[0] == field, (case.id, answer.raw)
        assert answer.body["errors"][0]["reason"], case.id
        assert len(answer.raw) < 3_000, case.id
        tried += 1
    untouched.check()
    assert tried > 300


MALFORMED = {
    "cut off": b'{"name": "x"',
    "two documents": b'{"name": "x"} {}',
    "single quotes": b"{'name': 'x'}",
    "a key twice": b'{"name": "x", "name": "y"}',
    "a key twice inside": b'{"name": "x", "settings": {"max_lines": 1, "max_lines": 2}}',
    "NaN": b'{"name": "x", "settings": {"max_lines": NaN}}',
    "Infinity": b'{"name": "x", "settings": {"max_lines": -Infinity}}',
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "a raw control character": b'{"name": "a\x00b"}',
    "nested without end": b"[" * 100_000,
    "a number without end": b'{"name": ' + b"9" * 100_000 + b"}",
    "words": b"state=running",
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_what_is_no_json_is_told_so(spring: World, pbx: SimulatedPbx, what: str) -> None:
    untouched = Untouched(spring, pbx)
    for method, path in [*GOOD, ("POST", CONTACTS)]:
        problem(await ask(spring, method, path, raw=MALFORMED[what]), 400, "malformed-json")
    untouched.check()


async def test_bodies_have_a_size_a_type_and_an_encoding(spring: World, pbx: SimulatedPbx) -> None:
    untouched = Untouched(spring, pbx)
    limit = spring.service.settings.http.max_body_bytes
    for method, path in [*GOOD, ("POST", CONTACTS)]:
        raw = json.dumps(GOOD.get((method, path), [])).encode()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "text/json", "application/xml"):
            answer = await ask(spring, method, path, raw=raw, headers={"Content-Type": kind})
            problem(answer, 415, "unsupported-media-type")
            assert kind in answer.body["detail"]
        answer = await ask(spring, method, path, raw=raw, headers={"Content-Encoding": "gzip"})
        problem(answer, 400, "bad-request")
    big = b'{"name": "' + b"x" * limit + b'"}'
    problem(await ask(spring, "PUT", NEW, raw=big), 413, "body-too-large")
    problem(await ask(spring, "POST", CONTACTS, raw=big), 413, "body-too-large")
    bomb = gzip.compress(big * 3)
    assert len(bomb) < limit / 100
    answer = await ask(spring, "POST", CONTACTS, raw=bomb, headers={"Content-Encoding": "gzip"})
    problem(answer, 413, "body-too-large")
    rows = b'{"ref":"spring:9","numbers":["15550009"]}\n' * (spring.service.settings.http.max_contacts_per_request + 1)
    answer = await ask(spring, "POST", CONTACTS, raw=rows, headers={"Content-Type": NDJSON})
    problem(answer, 413, "body-too-large")
    untouched.check()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", "/v1/campaigns/a,b", 422, "invalid-request"),
        ("PUT", "/v1/campaigns/a&b", 422, "invalid-request"),
        ("PUT", "/v1/campaigns/$%7BEXTEN%7D", 404, "not-found"),
        ("PUT", "/v1/campaigns/$EXTEN", 422, "invalid-request"),
        ("PUT", "/v1/campaigns/a%0Ab", 422, "invalid-request"),
        ("PUT", "/v1/campaigns/a%00", 422, "invalid-request"),
        ("PUT", "/v1/campaigns/" + "a" * 101, 422, "invalid-request"),
        ("PUT", "/v1/campaigns/%ED%A0%80", 422, "invalid-request"),
        ("PUT", "/v1/agents/a%20b", 422, "invalid-request"),
        ("PUT", "/v1/webhooks/a%20b", 422, "invalid-request"),
        ("PATCH", "/v1/campaigns/winter", 404, "unknown-campaign"),
        ("PATCH", "/v1/campaigns/a%0Ab", 404, "unknown-campaign"),
        ("DELETE", "/v1/campaigns/winter", 404, "unknown-campaign"),
        ("PUT", "/v1/campaigns/winter/agents/agent1", 404, "unknown-campaign"),
        ("PUT", "/v1/campaigns/spring/agents/nobody", 404, "unknown-agent"),
        ("DELETE", "/v1/campaigns/spring/agents/nobody", 404, "unknown-allocation"),
        ("POST", "/v1/campaigns/winter/contacts", 404, "unknown-campaign"),
        ("POST", "/v1/campaigns/spring/contacts/spring:9/cancel", 404, "unknown-contact"),
        ("GET", "/v1/campaigns/spring/contacts/spring:9", 404, "unknown-contact"),
        ("PATCH", "/v1/agents/nobody", 404, "unknown-agent"),
        ("POST", "/v1/agents/nobody/next", 404, "unknown-agent"),
        ("POST", f"{HELD}/dial", 409, "reservation-lost"),
        ("POST", "/v1/reservations/x/dial", 404, "unknown-reservation"),
        ("GET", f"/v1/calls/{NONE}", 404, "unknown-call"),
        ("POST", f"/v1/calls/{NONE}/hangup", 404, "unknown-call"),
        ("GET", "/v1/calls/..%2F..", 404, "unknown-call"),
        ("DELETE", "/v1/webhooks/none", 404, "unknown-webhook"),
        ("POST", "/v1/webhooks/none/replay", 404, "unknown-webhook"),
    ],
)
async def test_addresses_that_name_nothing(
    spring: World, pbx: SimulatedPbx, method: str, path: str, status: int, code: str
) -> None:
    bodies = {
        "PUT": {"name": "New"},
        "contacts": [],
        "dial": {"token": NONE},
        "replay": {"after": ""},
        "PATCH": {"state": "available"} if "agents" in path else {"state": "running"},
    }
    body = bodies.get(path.rpartition("/")[2], bodies.get(method, {} if method == "POST" else None))
    if method == "PUT" and "/campaigns/" in path and "/agents/" in path:
        body = {}
    untouched = Untouched(spring, pbx)
    answer = await ask(spring, method, path, body)
    problem(answer, status, code)
    if status == 422:
        assert answer.fields == ["ref" if "campaigns" in path else "id" if "webhooks" in path else "agent"]
    untouched.check()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("contacts?limit=0", "limit"),
        ("contacts?limit=1001", "limit"),
        ("contacts?limit=x", "limit"),
        ("contacts?limit=-1", "limit"),
        ("contacts?limit=1e2", "limit"),
        ("contacts?limit=%D9%A1", "limit"),
        (f"contacts?after={'x' * 701}", "after"),
        ("calls?limit=0", "limit"),
    ],
)
async def test_wrong_queries_are_named(spring: World, query: str, field: str) -> None:
    answer = await ask(spring, "GET", f"{SPRING}/{query}")
    problem(answer, 422, "invalid-request")
    assert answer.fields == [field]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=xyzzy", "after"),
        ("after=%00", "after"),
        ("wait=-1", "wait"),
        ("wait=9999", "wait"),
        ("limit=0", "limit"),
        ("campaign=a%20b", "campaign"),
        ("types=a%0Ab", "types"),
        ("types=" + ",".join("a" * 60), "types"),
    ],
)
async def test_wrong_questions_to_the_feed_are_named(spring: World, query: str, field: str) -> None:
    for accept in (JSON, "text/event-stream"):
        if accept != JSON and field in ("wait", "limit"):
            continue  # a stream has neither
        answer = await ask(spring, "GET", f"/v1/events?{query}", headers={"Accept": accept})
        problem(answer, 422, "invalid-request")
        assert answer.fields == [field]


async def test_headers_that_are_no_utf_8_are_answered(spring: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", spring.service.port)
    writer.write(
        b"GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: text/event-stream\r\n"
        b"Last-Event-ID: \xff\xfe\r\nAuthorization: Bearer " + token_of(spring).encode() + b"\r\n\r\n"
    )
    async with asyncio.timeout(10):
        raw = await reader.read()
    writer.close()
    assert raw.startswith(b"HTTP/1.1 422 ")


BAD_ROWS: list[tuple[Any, str]] = [
    (None, "row"),
    ([], "row"),
    ("15550001", "row"),
    ({}, "ref"),
    ({"ref": "x:1"}, "numbers"),
    ({"ref": 1, "numbers": ["15550001"]}, "ref"),
    ({"ref": "", "numbers": ["15550001"]}, "ref"),
    ({"ref": "a b", "numbers": ["15550001"]}, "ref"),
    ({"ref": "x" * 101, "numbers": ["15550001"]}, "ref"),
    ({"ref": "x\n", "numbers": ["15550001"]}, "ref"),
    ({"ref": "\ud800", "numbers": ["15550001"]}, "ref"),
    ({"ref": "a&b", "numbers": ["15550001"]}, "ref"),
    ({"ref": "a,b", "numbers": ["15550001"]}, "ref"),
    ({"ref": "${x}", "numbers": ["15550001"]}, "ref"),
    ({"ref": "x:1", "numbers": []}, "numbers"),
    ({"ref": "x:1", "numbers": "15550001"}, "numbers"),
    ({"ref": "x:1", "numbers": [15550001]}, "numbers[0]"),
    ({"ref": "x:1", "numbers": ["15550001", None]}, "numbers[1]"),
    ({"ref": "x:1", "numbers": [str(15550000 + one) for one in range(11)]}, "numbers"),
    ({"ref": "x:1", "numbers": ["15550001", "1555-0001"]}, "numbers[1]"),
    *[
        ({"ref": "x:1", "numbers": ["15550009", bad]}, "numbers[1]")
        for bad in (
            "",
            "1",
            "abc",
            "1" * 21,
            "++15550001",
            "15550001,15550002",
            "15550001&PJSIP/evil",
            "${EXTEN}",
            "15550001\r\nAction: Originate",
            "1555\x000001",
            "\u0661\u0662\u0663\u0664",
            "15550001;x",
            "PJSIP/15550001",
            "1555*72",
        )
    ],
    ({"ref": "x:1", "numbers": ["15550001"], "name": 7}, "name"),
    ({"ref": "x:1", "numbers": ["15550001"], "name": "a\nb"}, "name"),
    ({"ref": "x:1", "numbers": ["15550001"], "name": "${SHELL(id)}"}, "name"),
    ({"ref": "x:1", "numbers": ["15550001"], "name": "x" * 201}, "name"),
    ({"ref": "x:1", "numbers": ["15550001"], "data": []}, "data"),
    ({"ref": "x:1", "numbers": ["15550001"], "data": {"city": 7}}, "data.city"),
    ({"ref": "x:1", "numbers": ["15550001"], "data": {"city": {"a": "b"}}}, "data.city"),
    ({"ref": "x:1", "numbers": ["15550001"], "data": {"city": "a\x00b"}}, "data.city"),
    ({"ref": "x:1", "numbers": ["15550001"], "data": {"city": "x" * 1_001}}, "data.city"),
    ({"ref": "x:1", "numbers": ["15550001"], "data": {"": "x"}}, "data."),
    ({"ref": "x:1", "numbers": ["15550001"], "data": {"a\n": "x"}}, r"data.'a\n'"),
    ({"ref": "x:1", "numbers": ["15550001"], "data": {str(one): "x" for one in range(51)}}, "data"),
    ({"ref": "x:1", "numbers": ["15550001"], "xyzzy": 1}, "xyzzy"),
]


@pytest.mark.parametrize("kind", [JSON, NDJSON])
async def test_a_bad_contact_is_named_and_hinders_no_other(service: World, pbx: SimulatedPbx, kind: str) -> None:
    """TF-30 over HTTP: every row is answered for; the good ones among bad ones are added, the bad ones never."""
    await service.campaign("spring", [], agents=())
    rows = [row for row, _ in BAD_ROWS]
    rows[len(rows) // 2 : len(rows) // 2] = [{"ref": "spring:good", "numbers": ["+1 (555) 000-1234"]}]
    lines = [json.dumps(row).encode() for row in rows]
    raw = b"\n".join(lines) if kind == NDJSON else b"[" + b",".join(lines) + b"]"
    answer = await ask(service, "POST", CONTACTS, raw=raw, headers={"Content-Type": kind})
    assert answer.status == 200
    assert (answer.body["added"], answer.body["known"], answer.body["rejected"]) == (1, 0, len(BAD_ROWS))
    results = answer.body["results"]
    assert [one["row"] for one in results] == list(range(1, len(rows) + 1))
    refused = [one for one in results if one["status"] == "rejected"]
    assert all(one["reason"] for one in refused)
    assert [one["field"] for one in refused] == [field for _, field in BAD_ROWS]
    held = (await ask(service, "GET", CONTACTS)).body["contacts"]
    assert [(one["ref"], [number["number"] for number in one["numbers"]]) for one in held] == [
        ("spring:good", ["+15550001234"])
    ]
    untouched = Untouched(service, pbx)
    only_bad = b"[" + b",".join(json.dumps(row).encode() for row, _ in BAD_ROWS) + b"]"
    assert (await ask(service, "POST", CONTACTS, raw=only_bad)).body["added"] == 0
    untouched.check()


@pytest.mark.parametrize(
    "body", [{"contacts": [], "xyzzy": 1}, {"contacts": {}}, {"contacts": None}, {}, "x", 17, True, None]
)
async def test_contacts_come_as_an_array(spring: World, pbx: SimulatedPbx, body: Any) -> None:
    untouched = Untouched(spring, pbx)
    answer = await ask(spring, "POST", CONTACTS, raw=json.dumps(body).encode())
    problem(answer, 422, "invalid-request")
    assert answer.fields
    untouched.check()


async def test_people_are_called_what_they_are_called_and_the_pbx_never_hears_it(
    service: World, pbx: SimulatedPbx
) -> None:
    """Commas and ampersands belong to real names: they are kept as data and never reach the PBX."""
    await service.campaign("spring", [], agents=("agent1",))
    name, data = "Smith, John & Sons (50% {off})", {"note": "a,b&c=${d}"}
    row = {"ref": "spring:1", "numbers": ["15550001"], "name": name, "data": data}
    assert (await ask(service, "POST", CONTACTS, [row])).body["added"] == 1
    await service.run("spring")
    held = (await service.agent("agent1").call("POST", f"{AGENT1}/next", {}))["reservation"]
    assert (held["contact"]["name"], held["contact"]["data"]) == (name, data)
    dialled = await service.agent("agent1").call(
        "POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]}
    )
    await service.told("spring", "call.bridged", call=dialled["call_id"])
    assert all("Smith" not in repr(one) and "${" not in repr(one) for one in pbx.originates)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"trunk": "nowhere"}, "settings.trunk"),
        ({"trunk": "carrier&evil"}, "settings.trunk"),
        ({"trunk": "${x}"}, "settings.trunk"),
        ({"caller_id": "Bob <15550001>"}, "settings.caller_id"),
        ({"caller_id": "1555,0001"}, "settings.caller_id"),
        ({"caller_id": "1555&0001"}, "settings.caller_id"),
        ({"caller_id": "${x}"}, "settings.caller_id"),
        ({"caller_id": "15550001\n"}, "settings.caller_id"),
        ({"reservation_timeout_s": 0}, "settings.reservation_timeout_s"),
        ({"reservation_timeout_s": "120"}, "settings.reservation_timeout_s"),
        ({"ring_timeout_s": 1e9}, "settings.ring_timeout_s"),
        ({"max_lines": 1e400}, "settings.max_lines"),
        ({"max_lines": 10**400}, "settings.max_lines"),
        ({"dispositions": []}, "settings.dispositions"),
        ({"dispositions": [{"code": "a"}, {"code": "a"}]}, "settings.dispositions"),
        ({"dispositions": [{"code": "a b"}]}, "settings.dispositions[0].code"),
        ({"dispositions": [{"code": "a", "label": "${x}"}]}, "settings.dispositions[0].label"),
        ({"stop_when_completed": "yes"}, "settings.stop_when_completed"),
        ({"form": [{"name": "a", "label": "a\u2028b"}]}, "settings.form[0].label"),
        ({"form": [{"name": "a\n"}]}, "settings.form[0].name"),
        ({"form": [{"name": f"f{one}"} for one in range(51)]}, "settings.form"),
        ({"further_trunks": ["carrier&PJSIP/evil"]}, "settings.further_trunks[0]"),
        ({"supervisors": ["a,b"]}, "settings.supervisors[0]"),
        ({"own_trunks_only": 1}, "settings.own_trunks_only"),
        ({"xyzzy": None}, "settings.xyzzy"),
    ],
)
async def test_wrong_settings_are_named(spring: World, pbx: SimulatedPbx, settings: dict[str, Any], field: str) -> None:
    """TF-17: unknown keys and values out of range are refused whole."""
    untouched = Untouched(spring, pbx)
    body = {"name": "New", "settings": {"max_lines": 5} | settings}
    raw = json.dumps(body).replace("Infinity", "1e400").encode()
    for method, path in (("PUT", NEW), ("PATCH", SPRING)):
        answer = await ask(spring, method, path, raw=raw)
        problem(answer, 422, "invalid-request")
        assert answer.fields == [field]
    untouched.check()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://x/"}, "url"),
        ({"url": "/hook"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://user:secret@x/"}, "url"),
        ({"url": "http://x/#part"}, "url"),
        ({"url": "http://x:99999/"}, "url"),
        ({"url": "http://[::1/"}, "url"),
        ({"url": "http://a b/"}, "url"),
        ({"secret": "whsec_short"}, "secret"),
        ({"secret": "whsec_" + "!" * 40}, "secret"),
        ({"secret": "QUJD" * 10}, "secret"),
        ({"types": ["Call Ended"]}, "types[0]"),
        ({"types": ["a"] * 101}, "types"),
        ({"types": ["call.nothing"]}, "types[0]"),
        ({"batch": {"max_items": 0}}, "batch.max_items"),
        ({"batch": {"max_items": 201}}, "batch.max_items"),
        ({"batch": {"max_items": 2, "max_wait_ms": 60_001}}, "batch.max_wait_ms"),
        ({"campaigns": ["a b"]}, "campaigns[0]"),
    ],
)
async def test_wrong_webhooks_are_named(spring: World, pbx: SimulatedPbx, change: Any, field: str) -> None:
    untouched = Untouched(spring, pbx)
    answer = await ask(spring, "PUT", HOOK, GOOD["PUT", HOOK] | change)
    problem(answer, 422, "invalid-request")
    assert answer.fields == [field]
    assert "whsec_" not in answer.body["detail"] or field == "secret"
    untouched.check()


async def test_a_hangup_has_nothing_to_say(spring: World, pbx: SimulatedPbx) -> None:
    await spring.run("spring")
    agent = spring.agent("agent1")
    held = (await agent.call("POST", f"{AGENT1}/next", {}))["reservation"]
    call = (await agent.call("POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]}))["call_id"]
    await spring.told("spring", "call.bridged", call=call)
    answer = await ask(spring, "POST", f"/v1/calls/{call}/hangup", {"cause": 16})
    problem(answer, 422, "invalid-request")
    assert answer.fields == ["cause"]
    assert (await ask(spring, "GET", f"/v1/calls/{call}")).body["status"] == "bridged"
