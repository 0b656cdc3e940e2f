"""The CRM's part of a campaign's settings: what is refused, and the request that comes of the rest."""

from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from engine.core.campaign import Settings, patched
from engine.core.interaction import ExternalUrl, Method, request_of
from engine.core.refusal import Refused
from engine.core.template import Values
from tests.engine.core.test_template import HOSTILE

URL = "https://crm.example/contacts/{contact.ref}"


def external(**changes: Any) -> dict[str, Any]:
    return {"interaction": "external_url", "external_url": {"url": URL, **changes}}


def test_OM_03_the_interaction_is_a_form_unless_said_otherwise() -> None:
    assert Settings().interaction == "form"
    assert patched(Settings(), external()).interaction == "external_url"


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"interaction": "window"}, "settings.interaction"),
        ({"interaction": "external_url"}, "settings.external_url"),
        (external(url="https://{agent.id}/"), "settings.external_url.url"),
        (external(url="https://h/{contact.age}"), "settings.external_url.url"),
        (external(url="https://h/" + "x" * 2_000), "settings.external_url.url"),
        (external(method="PUT"), "settings.external_url.method"),
        (external(format="multipart"), "settings.external_url.format"),
        (external(format="json"), "settings.external_url.format"),
        (external(fields={"a": "{contact.age}"}), "settings.external_url.fields.a"),
        (external(fields={"a": "{disposition.code}"}), "settings.external_url.fields.a"),
        (external(trigger="server", url="https://h/{disposition.code}"), "settings.external_url.url"),
        (external(trigger="never"), "settings.external_url.trigger"),
        (external(headers={"X-Source": "dialer"}), "settings.external_url.headers"),
        (external(credential="sales"), "settings.external_url.credential"),
        (external(trigger="automatic", credential="sales"), "settings.external_url.credential"),
        (external(trigger="server", headers={"Authorization": "x"}), "settings.external_url.headers.Authorization"),
        (external(trigger="server", headers={"HOST": "x"}), "settings.external_url.headers.HOST"),
        (external(trigger="server", headers={"X-A": "1", "x-a": "2"}), "settings.external_url.headers.x-a"),
        ({"screen_pop_url": "https://h/{disposition.code}"}, "settings.screen_pop_url"),
        ({"screen_pop_url": "javascript:{contact.name}"}, "settings.screen_pop_url"),
        ({"script": "Dear {contact.nick}"}, "settings.script"),
        ({"script": "Dear {contact.name"}, "settings.script"),
        ({"script": "x" * 20_001}, "settings.script"),
        ({"tabs": [{"title": "A"}]}, "settings.tabs[0]"),
        ({"tabs": [{"title": "A", "url": "https://h/", "text": "x"}]}, "settings.tabs[0]"),
        ({"tabs": [{"title": "A", "text": "ok"}, {"title": "B", "text": "{x}"}]}, "settings.tabs[1].text"),
        ({"tabs": [{"title": "A", "url": "{contact.data.home}"}]}, "settings.tabs[0].url"),
        ({"tabs": [{"title": "A", "text": "x"}] * 11}, "settings.tabs"),
    ],
)
def test_OM_04_SG_18_a_setting_that_can_not_hold_is_refused_naming_its_field(patch: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        patched(Settings(), patch)
    assert refused.value.field == field


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\n", "\x00", "é", "{contact.name}"])
def test_OM_04_a_header_is_plain_text_of_one_line(value: str) -> None:
    with pytest.raises(Refused):
        patched(Settings(), external(trigger="server", headers={"X-Source": value}))


def test_where_the_settings_lead_is_told_field_by_field() -> None:
    settings = patched(
        Settings(),
        external(trigger="server", credential="sales")
        | {"screen_pop_url": "http://pop.example/", "tabs": [{"title": "A", "url": "https://Tab.example/"}]},
    )
    assert [(one.field, *one.origin, one.credential) for one in settings.targets()] == [
        ("settings.external_url.url", "https", "crm.example", "sales"),
        ("settings.screen_pop_url", "http", "pop.example", ""),
        ("settings.tabs[0].url", "https", "tab.example", ""),
    ]


def test_settings_survive_the_log() -> None:
    settings = patched(Settings(), external(fields={"n": "{contact.name}"}, headers={"X-A": "b"}, trigger="server"))
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings


# -- requests ---------------------------------------------------------------------------------------------------------


def made(text: str, **changes: Any) -> tuple[str, str, str, bytes]:
    given = {"url": "https://h/c?v=1", "fields": {"name": "{contact.name}", "a&b": "x{contact.name}"}, **changes}
    request = request_of(msgspec.convert(given, ExternalUrl), Values({"contact.name": text}))
    return request.method, request.url, request.content_type, request.body


@pytest.mark.parametrize("text", HOSTILE)
def test_OM_04_a_hostile_value_is_one_field_in_each_format(text: str) -> None:
    sound = text.encode("utf-8", "replace").decode()
    expected = {"name": [sound], "v": ["1"], "a&b": [f"x{sound}"]}
    for method in Method:
        _, url, kind, body = made(text, method=method)
        assert (kind, body) == ("", b"")
        assert parse_qs(url.partition("?")[2], strict_parsing=True, separator="&") == expected
    posted, url, kind, body = made(text, method="POST", format="form")
    assert (posted, url, kind) == ("POST", "https://h/c?v=1", "application/x-www-form-urlencoded")
    assert parse_qs(body.decode(), strict_parsing=True, separator="&") == {"name": [sound], "a&b": [f"x{sound}"]}
    posted, url, kind, body = made(text, method="POST", format="json")
    assert (posted, url, kind) == ("POST", "https://h/c?v=1", "application/json")
    assert msgspec.json.decode(body) == {"name": sound, "a&b": f"x{sound}"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/c", "https://h/c?n=A"),
        ("https://h/c?", "https://h/c?n=A"),
        ("https://h/c?v=1", "https://h/c?v=1&n=A"),
        ("https://h/c?v=1&", "https://h/c?v=1&n=A"),
        ("https://h/c#top", "https://h/c?n=A#top"),
        ("https://h/c?v=1#top?", "https://h/c?v=1&n=A#top?"),
    ],
)
def test_query_fields_are_put_where_the_query_is(url: str, expected: str) -> None:
    assert made("A", url=url, fields={"n": "{contact.name}"})[1] == expected
