"""How a campaign works together with the customer's CRM, and what its agents see: the settings and their rules.

With the interaction `form` an agent works with what is shown here; with `external_url` the CRM's page is called for each
contact: by the agent's client (a button, or by itself when the call is connected) or by the service (when the call is
connected, or when the contact is disposed of).
"""

from enum import StrEnum
from typing import Annotated, assert_never

import msgspec

from engine.core import template
from engine.core.refusal import invalid
from engine.core.template import Origin, Values

MAX_URL_CHARS = 2_000
MAX_TEXT_CHARS = 20_000
MAX_FIELDS = 50
MAX_HEADERS = 20
MAX_TABS = 10
FORM_TYPE, JSON_TYPE = "application/x-www-form-urlencoded", "application/json"

Url = Annotated[str, msgspec.Meta(max_length=MAX_URL_CHARS)]
Body = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS)]
FieldName = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^{}\x00-\x1f\x7f]*$(?!\n)")]
FieldValue = Annotated[str, msgspec.Meta(max_length=MAX_URL_CHARS)]
HeaderName = Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[A-Za-z0-9-]+$(?!\n)")]
HeaderValue = Annotated[str, msgspec.Meta(max_length=1_000, pattern=r"^[^{}\x00-\x1f\x7f-\U0010ffff]*$(?!\n)")]
CredentialName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}$(?!\n)")]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]


class Interaction(StrEnum):
    FORM = "form"
    EXTERNAL_URL = "external_url"


class Method(StrEnum):
    GET = "GET"
    POST = "POST"


class Format(StrEnum):
    QUERY = "query"
    FORM = "form"
    JSON = "json"


class Trigger(StrEnum):
    AGENT_BUTTON = "agent_button"
    AUTOMATIC = "automatic"
    SERVER = "server"
    DISPOSITION = "disposition"


BY_SERVICE = (Trigger.SERVER, Trigger.DISPOSITION)
WITHOUT_DISPOSITION = frozenset({"disposition.code", "disposition.label", "disposition.external_id"})
NOT_TO_SET = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "expect", "host", "idempotency-key"}
    | {"keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"}
)
"""Headers that are the request's own."""
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "api-key", "x-auth-token"})
"""Headers that carry secrets: settings are in the log and in notifications, so a secret is named and kept elsewhere."""


class ExternalUrl(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The CRM's address and what it is told. `credential` names one of the service's own settings."""

    url: Url
    method: Method = Method.GET
    format: Format = Format.QUERY
    fields: Annotated[dict[FieldName, FieldValue], msgspec.Meta(max_length=MAX_FIELDS)] = {}
    headers: Annotated[dict[HeaderName, HeaderValue], msgspec.Meta(max_length=MAX_HEADERS)] = {}
    credential: CredentialName = ""
    trigger: Trigger = Trigger.AGENT_BUTTON


class Tab(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One page beside the contact: another's by its `url`, or `text` of the campaign's own."""

    title: Title
    url: Url = ""
    text: Body = ""


class Opened(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the agent's client opens when the contact answers, as the campaign had it then: addresses whose placeholders
    are not filled in, so that nothing of the person is in it. `campaign` is the campaign's name.
    """

    campaign: str
    screen_pop_url: str = ""
    external_url: ExternalUrl | None = None


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's settings as far as they are this file's."""

    interaction: Interaction
    external_url: ExternalUrl | None
    screen_pop_url: str
    script: str
    tabs: tuple[Tab, ...]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a setting leads: which field says so, and with which credential."""

    field: str
    origin: Origin
    credential: str = ""


# -- rules ------------------------------------------------------------------------------------------------------------


def check(screen: Screen) -> tuple[Target, ...]:
    """Where the settings lead to; whether that is allowed is the operator's to say. Raises Refused naming the field."""
    targets: list[Target] = []
    if screen.external_url is not None:
        targets.append(_check_external(screen.external_url))
    elif screen.interaction is Interaction.EXTERNAL_URL:
        raise invalid("settings.external_url", "the interaction external_url needs one")
    if screen.screen_pop_url:
        field = "settings.screen_pop_url"
        targets.append(
            Target(field=field, origin=template.check_url(screen.screen_pop_url, field, WITHOUT_DISPOSITION))
        )
    template.check_markup(screen.script, "settings.script", WITHOUT_DISPOSITION)
    for place, tab in enumerate(screen.tabs):
        field = f"settings.tabs[{place}]"
        if bool(tab.url) == bool(tab.text):
            raise invalid(field, "a tab has either a url or a text")
        if tab.url:
            origin = template.check_url(tab.url, f"{field}.url", WITHOUT_DISPOSITION)
            targets.append(Target(field=f"{field}.url", origin=origin))
        template.check_markup(tab.text, f"{field}.text", WITHOUT_DISPOSITION)
    return tuple(targets)


def _check_external(external: ExternalUrl) -> Target:
    at = "settings.external_url"
    never = frozenset() if external.trigger is Trigger.DISPOSITION else WITHOUT_DISPOSITION
    origin = template.check_url(external.url, f"{at}.url", never)
    if external.method is Method.GET and external.format is not Format.QUERY:
        raise invalid(f"{at}.format", "a GET has no body: its fields go into the query")
    for name, value in external.fields.items():
        template.check_text(value, f"{at}.fields.{name}", never)
    if external.trigger not in BY_SERVICE and (external.headers or external.credential):
        field = "credential" if external.credential else "headers"
        raise invalid(f"{at}.{field}", "the agent's client opens the address, and is given neither headers nor secrets")
    seen: set[str] = set()
    for name in external.headers:
        field, lower = f"{at}.headers.{name}", name.lower()
        if lower in SECRET_HEADERS:
            raise invalid(field, "settings are read by many: name a credential instead")
        if lower in NOT_TO_SET or lower in seen:
            raise invalid(field, "stands twice" if lower in seen else "is the request's own")
        seen.add(lower)
    return Target(field=f"{at}.url", origin=origin, credential=external.credential)


# -- rendering --------------------------------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent. `content_type` empty: there is no body."""

    method: Method
    url: str
    content_type: str = ""
    body: bytes = b""


def fields_of(external: ExternalUrl, values: Values) -> dict[str, str]:
    return {name: template.plain(value, values) for name, value in external.fields.items()}


def address_of(external: ExternalUrl, values: Values) -> str:
    """The URL, with the fields where they go into the query."""
    address = template.url(external.url, values)
    if external.format is not Format.QUERY or not external.fields:
        return address
    before, mark, fragment = address.partition("#")
    joint = "?" if "?" not in before else "" if before.endswith(("?", "&")) else "&"
    return before + joint + _encoded(fields_of(external, values)) + mark + fragment


def request_of(external: ExternalUrl, values: Values) -> Request:
    """The service's own request."""
    address = address_of(external, values)
    match external.format:
        case Format.QUERY:
            return Request(method=external.method, url=address)
        case Format.FORM:
            body = _encoded(fields_of(external, values)).encode()
            return Request(method=external.method, url=address, content_type=FORM_TYPE, body=body)
        case Format.JSON:
            sound = {name: _whole(value) for name, value in fields_of(external, values).items()}
            body = msgspec.json.encode(sound)
            return Request(method=external.method, url=address, content_type=JSON_TYPE, body=body)
        case _:
            assert_never(external.format)


def _encoded(fields: dict[str, str]) -> str:
    return "&".join(f"{template.component(name)}={template.component(value)}" for name, value in fields.items())


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, which no UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()
