"""Events as bytes: what is stored stays readable, what can't be read says so, and personal data is sealed."""

import base64
import json
import os
import sqlite3
from pathlib import Path
from typing import Any, get_args

import asyncpg
import msgspec
import pytest

from engine.core.personal import Details, Person
from engine.ports import Append, Recorded, Unopened
from engine.service import LogEvent
from eventstore import BrokenSeal, Codec, DamagedSegment, UnencodableEvent, UnknownEvent, open_store
from eventstore.codec import NONCE_BYTES
from eventstore.packing import PLAIN
from tests.eventstore.events import Counted, Met, TestEvent, met

GOLDEN = Path(__file__).parents[1] / "golden" / "events.ndjson"
GOLDEN_KEYS = {
    "c-1001": bytes(range(32)),
    "dnc/global": bytes(range(1, 33)),
    "dnc/suppressed": bytes(range(2, 34)),
    "webhook/id": bytes(range(3, 35)),
}


def stored(codec: Codec, *events: Any) -> bytes:
    return codec.encode([Recorded(pos, "s", pos, event) for pos, event in enumerate(events, 1)], "log")[0]


# -- golden lines: never edited, only added to ------------------------------------------------------------------------


def structs(union: Any) -> list[type[msgspec.Struct]]:
    return [one for member in get_args(union) for one in structs(member)] if get_args(union) else [union]


def golden() -> list[str]:
    return GOLDEN.read_text("utf-8").splitlines()


def tag_of(line: str) -> str:
    return str(json.loads(line)[2]["type"])


@pytest.fixture
def codec() -> Codec:
    codec = Codec(LogEvent)
    codec.keys.learn("golden", GOLDEN_KEYS, GOLDEN_KEYS)
    return codec


def test_every_event_that_may_be_stored_has_a_golden_line() -> None:
    """A new event: add a line as it is stored. An old one: leave its line, and see below that it still reads."""
    tags = {str(one.__struct_config__.tag) for one in structs(LogEvent)}
    assert tags - {tag_of(line) for line in golden()} == set()
    assert all(tag.rpartition(".")[2].startswith("v") for tag in tags)  # noun.verb.vN


def holds(new: Any, old: Any) -> bool:
    """Whether `new` says all that `old` did: fields with defaults may have been added since."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and holds(new[key], value) for key, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(new) == len(old) and all(map(holds, new, old))
    return bool(new == old)


@pytest.mark.parametrize("line", golden(), ids=tag_of)
def test_what_was_once_stored_still_reads_and_says_the_same(
    codec: Codec, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = codec.decode(line.encode(), "golden", 1)
    if "sealed_for" in line:
        box = line.partition('"box":"')[2].partition('"')[0]
        monkeypatch.setattr(os, "urandom", lambda n: base64.b64decode(box)[:n])  # the nonce that it was sealed with
    again, keys = codec.encode(events, "golden")
    assert holds(json.loads(again), json.loads(line))
    assert keys == {}  # sealed with the key that was learned, not a new one


def test_the_golden_person_is_who_was_sealed(codec: Codec) -> None:
    line = next(one for one in golden() if tag_of(one) == "contacts.added.v1")
    (added,) = codec.decode(line.encode(), "golden", 1)
    assert added.event.contacts[0].person.details == Details(
        numbers=("+390612345678", "+393331234567"), name="Ada Esempio", data={"city": "Roma"}
    )


# -- old and unknown events -------------------------------------------------------------------------------------------


class Renamed(msgspec.Struct, frozen=True, kw_only=True, tag="test.renamed.v1"):
    old: str
    new: str


class RenamedBy(msgspec.Struct, frozen=True, kw_only=True, tag="test.renamed.v2"):
    name: str
    by: str
    person: Person | None = None


def test_an_old_event_is_read_as_the_newest_and_a_new_one_untouched() -> None:
    def upcast(fields: dict[str, Any]) -> dict[str, Any]:
        return {"type": "test.renamed.v2", "name": fields["new"], "by": "unknown"}

    lines = stored(Codec(Renamed), Renamed(old="a", new="b")) + stored(Codec(RenamedBy), RenamedBy(name="c", by="me"))
    events = Codec(RenamedBy | Counted, {"test.renamed.v1": upcast}).decode(lines, "log", 5)
    assert [one.event for one in events] == [RenamedBy(name="b", by="unknown"), RenamedBy(name="c", by="me")]
    assert [one.pos for one in events] == [5, 6]


def test_personal_data_survives_an_upcast() -> None:
    writer = Codec(TestEvent)
    lines = stored(writer, met("ann", "Ann"))

    def upcast(fields: dict[str, Any]) -> dict[str, Any]:
        return {"type": "test.renamed.v2", "name": "n", "by": "b", "person": fields["person"]}

    reader = Codec(RenamedBy | Counted, {"test.met.v1": upcast})
    reader.keys = writer.keys
    assert reader.decode(lines, "log", 1)[0].event.person == met("ann", "Ann").person


def test_an_unknown_tag_stops_and_says_where() -> None:
    lines = stored(Codec(Counted | Renamed), Counted(n=1), Renamed(old="a", new="b"))
    with pytest.raises(UnknownEvent, match=r"'campaign/summer', position 42: 'test.renamed.v1'"):
        Codec(TestEvent).decode(lines, "campaign/summer", 41)


def test_a_known_tag_with_fields_that_do_not_fit_stops_and_says_where() -> None:
    with pytest.raises(UnknownEvent, match=r"'log', position 7: 'test.counted.v1'.*int"):
        Codec(TestEvent).decode(b'["s",1,{"type":"test.counted.v1","n":"many"}]', "log", 7)


@pytest.mark.parametrize("event", [met("ann", "\udcff"), object()])
def test_what_cannot_be_stored_is_refused_without_repeating_it(event: Any) -> None:
    with pytest.raises(UnencodableEvent, match="'s'") as refused:
        stored(Codec(TestEvent), event)
    assert "123" not in str(refused.value)  # the number of whom it is about


def test_events_that_a_reader_has_no_need_of_come_without_what_they_say() -> None:
    codec, strange = Codec(TestEvent), 'c {"type":"test.counted.v1"'
    counted, person = Counted(n=1), met("ann", '{"type":"test.counted.v1"')
    events = [counted, person, counted, counted]
    recorded = [Recorded(pos, strange, pos, event) for pos, event in enumerate(events, 11)]
    lines, _ = codec.encode(recorded, "log")
    for to, expected in ((10, events), (11, [None, *events[1:]]), (13, [None, person, None, counted])):
        found = codec.decode(lines, "log", 11, Unopened(Counted, to))
        assert [one.event for one in found] == expected
        assert [(one.pos, one.stream, one.version) for one in found] == [(pos, strange, pos) for pos in range(11, 15)]
    assert [one.event for one in codec.decode(lines, "log", 11, Unopened(Met, 14))] == [counted, None, counted, counted]
    with pytest.raises(DamagedSegment, match="position 11"):
        codec.decode(lines.splitlines()[0][:-1], "log", 11, Unopened(Counted, 20))


# -- personal data ----------------------------------------------------------------------------------------------------


def test_personal_data_is_not_in_what_is_stored_and_every_seal_is_another() -> None:
    codec = Codec(TestEvent)
    lines = stored(codec, met("ann", "Ann Sealed"), met("ann", "Ann Sealed"))
    assert b"Sealed" not in lines
    first, second = (json.loads(line)[2]["person"]["box"] for line in lines.splitlines())
    assert first != second
    assert codec.subjects(lines) == ["ann", "ann"]


def test_a_new_key_is_asked_to_be_saved_until_it_is() -> None:
    codec = Codec(TestEvent)
    recorded = [Recorded(1, "s", 1, met("ann", "Ann"))]
    _, keys = codec.encode(recorded, "log")
    assert list(keys) == ["ann"]
    assert codec.encode(recorded, "log")[1] == keys
    codec.keys.saved("log", keys)
    assert codec.encode(recorded, "log")[1] == {}


def tampered(line: bytes) -> bytes:
    stream, version, fields = json.loads(line)
    box = bytearray(base64.b64decode(fields["person"]["box"]))
    box[NONCE_BYTES] ^= 1
    fields["person"]["box"] = base64.b64encode(box).decode()
    return json.dumps([stream, version, fields], separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "damage",
    [
        tampered,
        lambda line: line.replace(b'"sealed_for":"ann"', b'"sealed_for":"bob"'),  # moved to somebody else
        lambda line: line.replace(b'"box":"', b'"box":"AA'),
        lambda line: line.replace(b'"box":"', b'"box":"?'),
    ],
    ids=["tampered", "moved", "longer", "no base64"],
)
def test_a_box_that_was_tampered_with_is_named_not_guessed(damage: Any) -> None:
    codec = Codec(TestEvent)
    line = stored(codec, met("ann", "Ann")).strip()
    codec.keys.learn("log", ["bob"], {"bob": bytes(32)})
    with pytest.raises(BrokenSeal, match=r"log 'log', position 9: the personal data of '(ann|bob)'"):
        codec.decode(damage(line), "log", 9)


def test_another_key_is_a_broken_seal_and_an_erased_one_is_an_erased_person() -> None:
    lines = stored(Codec(TestEvent), met("ann", "Ann"))
    other = Codec(TestEvent)
    other.keys.learn("log", ["ann"], {"ann": bytes(32)})
    with pytest.raises(BrokenSeal, match="'ann'"):
        other.decode(lines, "log", 1)
    erased = Codec(TestEvent)
    erased.keys.learn("log", ["ann"], {})
    event = erased.decode(lines, "log", 1)[0].event
    assert isinstance(event, Met)
    assert event.person == Person("ann", None)
    assert b'"box":""' in stored(erased, met("ann", "Ann"))  # and stays so


# -- the plain form, from SQL -----------------------------------------------------------------------------------------


async def append_plainly(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec(TestEvent)
    monkeypatch.setattr(codec, "pack", lambda lines: (PLAIN, lines))
    store = await open_store(url, codec)
    log = await store.open_log("a")
    await log.append([Append("s", 0, [Counted(n=1), Counted(n=2)])])
    await log.append([Append("t", 0, [Counted(n=3)])])
    assert [one.event.n async for batch in log.read() for one in batch] == [1, 2, 3]
    await log.close()
    await store.close()


async def test_a_plain_segment_is_readable_from_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.db"
    await append_plainly(f"sqlite:///{path}", monkeypatch)
    query = """
        select s.pos + l.key, json_extract(l.value, '$[0]'), json_extract(l.value, '$[2].n')
        from es_segment s, json_each('[' || replace(trim(cast(s.data as text), char(10)), char(10), ',') || ']') l
        where s.log = 'a' and s.codec = 0 order by 1
    """
    with sqlite3.connect(path) as database:
        assert database.execute(query).fetchall() == [(1, "s", 1), (2, "s", 2), (3, "t", 3)]


async def test_a_plain_segment_is_readable_from_postgresql(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await append_plainly(postgres_url, monkeypatch)
    query = r"""
        select s.pos + l.n - 1, l.line::jsonb ->> 0, (l.line::jsonb -> 2 ->> 'n')::int
        from es_segment s, string_to_table(trim(e'\n' from convert_from(s.data, 'utf8')), e'\n') with ordinality l(line, n)
        where s.log = 'a' and s.codec = 0 order by 1
    """
    connection = await asyncpg.connect(postgres_url)
    try:
        assert [tuple(row) for row in await connection.fetch(query)] == [(1, "s", 1), (2, "s", 2), (3, "t", 3)]
    finally:
        await connection.close()
