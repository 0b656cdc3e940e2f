"""Every body of the API with something in it that no client should send: refused by name or taken, never a failure of ours."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.pbx import SimulatedPbx
from tests.api.asking import JSON, NDJSON, Answer, ask, token_of
from tests.api.test_bad_input import CONTACTS, GOOD, HOOK
from tests.hostile.effort import effort
from tests.hostile.wire import PROBLEM, Victim, quiet_log
from tests.world import World

ROW = {"ref": "spring:9", "numbers": ["15550009"], "name": "Bo", "data": {"city": "Cali"}, "tags": ["vip"]}
# A campaign that starts goes on changing by itself: nothing could be said of what a refusal left behind.
BODIES: list[tuple[str, str, str, Any]] = [
    *(
        (method, path, JSON, {key: one for key, one in body.items() if one != "running"})
        for (method, path), body in GOOD.items()
    ),
    ("POST", CONTACTS, JSON, [ROW]),
    ("POST", CONTACTS, NDJSON, ROW),
]
MARK = "Zzq"
"""Stands where the fragment goes."""

FRAGMENTS: dict[str, bytes] = {
    "nested lists": b"[" * 5_000 + b"]" * 5_000,
    "nested objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "lists without end": b"[" * 5_000,
    "a number without end": b"9" * 5_000,
    "a fraction without end": b"0." + b"9" * 5_000,
    "an exponent beyond all": b"1e999999999",
    "an exponent below all": b"-1e-999999999",
    "minus nothing": b"-0",
    "2^53 + 1": b"9007199254740993",
    "2^63": b"9223372036854775808",
    "2^64": b"18446744073709551616",
    "a leading zero": b"007",
    "a plus": b"+1",
    "hex": b"0x10",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "nothing": b"",
    "null": b"null",
    "a half of a pair": b'"\\ud800"',
    "the halves the wrong way": b'"\\udc00\\ud800"',
    "half a pair in bytes": b'"\xed\xa0\x80"',
    "overlong bytes": b'"\xc0\xaf\xe0\x80\xaf"',
    "bytes beyond Unicode": b'"\xf5\x80\x80\x80"',
    "bytes cut off": b'"\xe2\x82"',
    "a raw NUL": b'"a\x00b"',
    "a NUL": b'"a\\u0000b"',
    "a raw line end": b'"a\nb"',
    "an escape that is none": b'"\\x41"',
    "a long text": b'"' + b"x" * 1_000_000 + b'"',
    "a long text of four bytes each": b'"' + "\U0001f4de".encode() * 100_000 + b'"',
    "text turned around": '"\u202e+5551000\u202c"'.encode(),
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, once escaped": b'{"a": 1, "\\u0061": 2}',
    "the key of all objects": b'{"__proto__": {"a": 1}, "constructor": {}}',
    "many keys": json.dumps({str(one): one for one in range(20_000)}).encode(),
    "many items": b"[" + b"0," * 50_000 + b"0]",
    "a comment": b"1 /* one */",
    "a comma too many": b"[1,]",
    "single quotes": b"'x'",
    "two documents": b"1} {",
    "an expression": b'"${SHELL(id)} {0.__class__} %s%n $[1+1] {{7*7}}"',
    "an AMI action": b'"x\\r\\n\\r\\nAction: Command\\r\\nCommand: core stop now\\r\\n\\r\\n"',
    "a query": b'"\'; drop table es_segment; --"',
    "a page": b'"<script>alert(1)</script>"',
}
AROUND: dict[str, bytes] = {
    "a mark of byte order": b"\xef\xbb\xbf%b",
    "spaces without end": b" " * 100_000 + b"%b" + b"\n" * 100_000,
    "a form feed": b"\x0c%b",
    "a NUL behind": b"%b\x00",
    "a document behind": b"%b%b",
    "in a list": b"[%b]",
    "in a text": b'"%b"',
}
CODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037")


def holes(body: Any) -> Iterator[str]:
    """The body's text, once for each value in it and once whole, with MARK in that value's place."""
    yield MARK
    if isinstance(body, dict):
        for key, value in body.items():
            for hole in holes(value):
                yield json.dumps({**body, key: f"@{hole}@"}).replace(json.dumps(f"@{hole}@"), hole)
        yield json.dumps({**body, MARK: 1}).replace(f'"{MARK}"', MARK)
    elif isinstance(body, list):
        for place, value in enumerate(body):
            for hole in holes(value):
                filled = [*body[:place], f"@{hole}@", *body[place + 1 :]]
                yield json.dumps(filled).replace(json.dumps(f"@{hole}@"), hole)


@pytest.fixture
async def victim(service: World, pbx: SimulatedPbx) -> AsyncIterator[Victim]:
    await service.campaign("spring", [["15550001"]])
    await service.admin.call("PUT", HOOK, GOOD["PUT", HOOK])
    with quiet_log():
        yield Victim(service, pbx)


async def sent(victim: Victim, method: str, path: str, media: str, raw: bytes) -> Answer:
    """Answered as the schema says (the session judges that), without a failure of ours; what is refused changes nothing."""
    answer = await ask(victim.world, method, path, raw=raw, headers={"Content-Type": media})
    assert answer.status < 500 or answer.headers.get("Retry-After"), (path, raw[:200], answer)
    if answer.status >= 400:
        assert answer.headers["Content-Type"].startswith(PROBLEM), (path, answer)
        assert len(answer.raw) < 10_000, (path, raw[:200])  # it quotes some hundred characters, of up to four bytes
    return answer


def test_holes_are_everywhere() -> None:
    assert set(holes({"a": 1, "b": [2]})) == {
        MARK,
        f'{{"a": {MARK}, "b": [2]}}',
        f'{{"a": 1, "b": {MARK}}}',
        f'{{"a": 1, "b": [{MARK}]}}',
        f'{{"a": 1, "b": [2], {MARK}: 1}}',
    }


@pytest.mark.parametrize("what", FRAGMENTS)
async def test_every_body_with_something_odd_in_it_is_answered(victim: Victim, what: str) -> None:
    """In each field of each body by turns: a few of them for each fragment, all together every one."""
    turn = list(FRAGMENTS).index(what)
    for place, (method, path, media, body) in enumerate(BODIES):
        found = list(holes(body))
        hole = found[(turn + place) % len(found)]
        raw = hole.encode().replace(MARK.encode(), FRAGMENTS[what])
        answer = await sent(victim, method, path, media, raw)
        await victim.check(answer.status < 400)


@given(
    body=st.sampled_from(BODIES),
    hole=st.integers(min_value=0),
    fragments=st.lists(st.sampled_from(list(FRAGMENTS.values())) | st.binary(max_size=40), min_size=1, max_size=3),
    glue=st.sampled_from([b"", b",", b":", b" ", b'"', b"\\"]),
)
@effort(60)
async def test_bodies_put_together_at_random_are_answered(
    victim: Victim, body: tuple[str, str, str, Any], hole: int, fragments: list[bytes], glue: bytes
) -> None:
    method, path, media, good = body
    found = list(holes(good))
    raw = found[hole % len(found)].encode().replace(MARK.encode(), glue.join(fragments))
    answer = await sent(victim, method, path, media, raw)
    await victim.check(answer.status < 400)


@pytest.mark.parametrize("what", AROUND)
async def test_what_stands_around_a_body_is_answered(victim: Victim, what: str) -> None:
    for method, path, media, body in BODIES:
        raw = AROUND[what].replace(b"%b", json.dumps(body).encode())
        answer = await sent(victim, method, path, media, raw)
        await victim.check(answer.status < 400)


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_body_in_another_coding_is_no_json_whatever_it_calls_itself(victim: Victim, coding: str) -> None:
    for method, path, media, body in BODIES:
        raw = json.dumps(body).encode(coding)
        if coding == "utf-7":
            raw = b"+AHs-" + raw[1:]
        answer = await sent(victim, method, path, f"{media}; charset={coding}", raw)
        assert answer.status in (400, 413, 415, 422) or (media == NDJSON and answer.body["added"] == 0), (path, answer)
        await victim.check()


@given(path=st.binary(min_size=1, max_size=60), query=st.binary(max_size=60))
@effort(60)
async def test_addresses_of_any_bytes_are_answered(victim: Victim, path: bytes, query: bytes) -> None:
    """Percent-encoded, as parts of addresses that there are."""
    packed, asked = ("".join(f"%{byte:02x}" for byte in text) for text in (path, query))
    head = f"Host: x\r\nAuthorization: Bearer {token_of(victim.world)}\r\n\r\n"
    for template in ("/v1/campaigns/{}", "/v1/calls/{}", "/v1/campaigns/spring/contacts/{}", "/v1/agents/{}", "/{}"):
        for suffix in (f"?{asked}", f"?after={asked}", f"?limit={asked}"):
            found = await victim.shot(f"GET {template.format(packed)}{suffix} HTTP/1.1\r\n{head}".encode(), whole=True)
            assert [reply.status for reply in found] != [], (path, query)
            assert not re.search(rb"[\x80-\xff]", found[0].body) or found[0].body.decode()
