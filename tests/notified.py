"""Every notification that is rendered in the tests' own process is held against its type's schema."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from adapters.notify.catalogue import CATALOGUE
from adapters.notify.entry import Entry
from adapters.notify.feed import FeedReader
from adapters.notify.parcel import encoded
from engine.ports import Notification

faults: list[str] = []
seen: set[str] = set()
"""Types that were met."""


@cache
def validator(type_: str) -> Any:
    """Published shapes let clients meet new fields; here an undeclared field is a fault."""
    schema = msgspec.json.schema(CATALOGUE[type_].envelope)
    for one in schema["$defs"].values():
        if one.get("type") == "object" and "properties" in one:
            one.setdefault("additionalProperties", False)
    return jsonschema_rs.Draft202012Validator(schema)


def faults_of(body: bytes) -> list[str]:
    """What is wrong with a notification as it is sent."""
    told: Mapping[str, Any] = json.loads(body)
    if told["type"] not in CATALOGUE:
        return [f"there is no type {told['type']!r}"]
    seen.add(told["type"])
    return [f"{told['type']} {one.instance_path}: {one.message}" for one in validator(told["type"]).iter_errors(told)]


def watch(patch: pytest.MonkeyPatch) -> None:
    """Judge whatever is rendered from here on."""
    render = FeedReader.render

    def judged(self: FeedReader, entry: Entry) -> Notification:
        notification = render(self, entry)
        faults.extend(faults_of(encoded(notification)))
        return notification

    patch.setattr(FeedReader, "render", judged)
