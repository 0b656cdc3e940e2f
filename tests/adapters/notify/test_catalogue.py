"""Given the catalogue of notifications, then it is whole, its schemas are right, and what is told fits them."""

from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest

from adapters.notify.catalogue import CATALOGUE
from adapters.notify.content.base import Content
from adapters.notify.notification import SILENT, fact_of, notification_of
from adapters.notify.parcel import encoded
from adapters.notify.reference import reference
from api.app import ROUTES
from api.openapi import document
from engine.core.book import Event
from engine.ports import Notification, Recorded
from tests import notified
from tests.adapters.notify.house import House, opening, talk
from tests.adapters.notify.test_notification import TOLD, book_of, sample
from tests.notified import faults_of, validator

REFERENCE = Path(__file__).parents[3] / "docs" / "notification-types.md"
NOT_OF_CAMPAIGNS = {"webhook.parked", "webhook.resumed", "webhook.ping"}
OPENAPI = document(ROUTES, "test", CATALOGUE)


def as_sent(type_: str, data: dict[str, Any]) -> bytes:
    return encoded(Notification(id="a:1", type=type_, time="t", cursor="c", campaign="a", seq=1, data=data))


def test_TF_37_the_reference_is_current() -> None:
    assert REFERENCE.read_text("utf-8") == reference(), "write it anew: python -m adapters.notify.reference"


def test_TF_37_every_type_that_is_told_is_in_the_catalogue_and_no_other() -> None:
    assert set(CATALOGUE) == set(TOLD.values()) | NOT_OF_CAMPAIGNS
    contents: list[type[Content]] = [Content]
    for one in contents:
        contents += one.__subclasses__()
    assert {one.TYPE for one in contents if one.TYPE} == set(CATALOGUE)


@pytest.mark.parametrize("kind", [one for one in get_args(Event) if one not in SILENT], ids=lambda one: one.__name__)
def test_TF_37_whatever_is_told_of_an_event_fits_its_schema(kind: type) -> None:
    """With the book that knows the person, and without."""
    events = [*opening("sales"), *talk("sales", 1)]
    for event in [sample(kind), *(one for one in events if type(one) is kind)]:
        for book in (None, book_of(*events)):
            told = notification_of("sales", Recorded(1, "s", 1, event), book)
            assert told is not None
            assert faults_of(as_sent(*told)) == []


@pytest.mark.parametrize("type_", CATALOGUE)
def test_every_example_fits_its_schema_and_the_published_one(type_: str) -> None:
    one = CATALOGUE[type_]
    assert one.about
    assert one.example.type == type_
    assert faults_of(encoded(one.example)) == []
    published = OPENAPI["webhooks"][type_]["post"]["requestBody"]["content"]["application/json"]
    jsonschema_rs.Draft202012Validator({**published["schema"], "components": OPENAPI["components"]}).validate(
        published["example"]
    )


def test_the_published_schemas_are_schemas() -> None:
    for one in OPENAPI["components"]["schemas"].values():
        jsonschema_rs.meta.validate(one)
    assert OPENAPI["webhooks"].keys() == CATALOGUE.keys()


@pytest.mark.parametrize("type_", CATALOGUE)
def test_the_judge_refuses_what_isnt_declared(type_: str) -> None:
    example = msgspec.to_builtins(CATALOGUE[type_].example)
    validator(type_).validate(example)
    wrong = [example | {"version": "1"}, example | {"type": "xyzzy"}, example | {"data": example["data"] | {"more": 1}}]
    wrong += [
        example | {"data": {key: value for key, value in example["data"].items() if key != name}}
        for name in validator_required(type_)
    ]
    for one in wrong:
        assert not validator(type_).is_valid(one), one


def validator_required(type_: str) -> list[str]:
    kind = CATALOGUE[type_].content
    return [one.encode_name for one in msgspec.structs.fields(kind) if one.required]


async def test_a_notification_that_fits_no_schema_is_found_wherever_it_is_rendered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a translation with a fault, then the watch that every test runs under says so."""
    house = House()
    await house.notifier.start()
    try:
        house.write("sales", *opening("sales"))
        await house.merged()
        assert notified.faults == []
        monkeypatch.setattr("adapters.notify.feed.completed", lambda *_: {"xyzzy": 1})
        await house.all()
        found, notified.faults = notified.faults, []
        assert any("xyzzy" in one for one in found)
    finally:
        await house.notifier.stop()


def test_a_fact_knows_its_type() -> None:
    for kind in (one for one in get_args(Event) if one not in SILENT):
        fact = fact_of("sales", sample(kind))
        assert fact is not None
        assert fact.type == TOLD[kind.__name__]
