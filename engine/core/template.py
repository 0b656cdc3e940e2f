"""Text with `{placeholders}`, and how a value is written where it stands.

A brace always belongs to a placeholder of a known name: anything else is refused when the template is stored. A value is
encoded by its place, so whatever a contact's data holds it stays data: one path segment, one query value, one piece of
text. Rendering never fails; what isn't known renders empty.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec

from engine.core.refusal import invalid

KNOWN = frozenset(
    {
        "campaign.ref",
        "campaign.name",
        "contact.ref",
        "contact.name",
        "contact.number",
        "contact.external_id",
        "call.id",
        "call.number",
        "agent.id",
        "agent.name",
        "disposition.code",
        "disposition.label",
        "disposition.external_id",
    }
)
DATA = "contact.data."
"""Before the key of one of the contact's further values."""
MAX_KEY_CHARS = 64
MAX_PARSED_TEMPLATES = 1_024

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
SLASH = re.compile(r"/(?![^{}]*\})")
"""Between path segments: one that is not part of a placeholder's name."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?"
ORIGIN = re.compile(rf"(https?)://({HOST}|\[[0-9A-Fa-f:.]{{2,45}}\])(?::([0-9]{{1,5}}))?", re.IGNORECASE)
URL_LITERAL = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?#-]|%[0-9A-Fa-f]{2})*")
"""What may stand in a URL as it is. No backslash: browsers take it for a slash."""
RUNNING_MARKUP = re.compile(r"<\s*/?\s*(?:script|style|iframe|object|embed|template|base|meta|link)\b", re.IGNORECASE)
IN_TAG = re.compile(r"<(?:\x00|[^\s<>][^<>]*\x00)")
IN_LINK = re.compile(r"\]\([^()]*\x00|^ {0,3}\[[^\[\]\n]*\]:\s*[^\n]*\x00", re.MULTILINE)
"""A placeholder (NUL) in a tag, or in what a Markdown link leads to: there a value is more than text."""
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
DOT_SEGMENTS = (".", "..")
STRUCTURE = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
    | {char: f"&#{ord(char)};" for char in "\\`*_[]()#!|~"}
    | dict.fromkeys("\r\n\t", " ")
)
"""HTML's own characters, and those that Markdown would make links, images and emphasis of."""


class Values(msgspec.Struct, frozen=True):
    """What the placeholders stand for, by name; `data` the contact's further values by key."""

    names: Mapping[str, str]
    data: Mapping[str, str] = {}

    def of(self, name: str) -> str:
        if name.startswith(DATA):
            return self.data.get(name.removeprefix(DATA), "")
        return self.names.get(name, "")


class Origin(NamedTuple):
    """Where a URL leads. `scheme` and `host` in lower case, an IPv6 address without its brackets."""

    scheme: str
    host: str


# -- storing ----------------------------------------------------------------------------------------------------------


def check_text(template: str, field: str, never: frozenset[str] = frozenset()) -> None:
    """Raises Refused naming the field. `never`: placeholders that have no value where this template is used."""
    parts = parsed(template)
    for literal in parts[::2]:
        if "{" in literal or "}" in literal:
            raise invalid(field, "a brace must belong to a placeholder such as {contact.ref}")
    for name in parts[1::2]:
        if name.startswith(DATA):
            key = name.removeprefix(DATA)
            if not 1 <= len(key) <= MAX_KEY_CHARS or CONTROL.search(key):
                raise invalid(field, f"{{{DATA}KEY}}: a key has 1 to {MAX_KEY_CHARS} characters")
        elif name not in KNOWN:
            raise invalid(field, f"there is no placeholder {{{name}}}; there are {', '.join(sorted(KNOWN))}, {DATA}KEY")
        elif name in never:
            raise invalid(field, f"{{{name}}} has no value here")


def check_markup(template: str, field: str, never: frozenset[str] = frozenset()) -> None:
    """As check_text, for HTML or Markdown: placeholders stand in its text only. Raises Refused naming the field."""
    check_text(template, field, never)
    if RUNNING_MARKUP.search(template):
        raise invalid(field, "scripts, styles and frames have no place here")
    marks = PLACEHOLDER.sub("\x00", template.replace("\x00", " "))
    if IN_TAG.search(marks) or IN_LINK.search(marks):
        raise invalid(field, "a placeholder may not stand in a tag or in a link's address: make it a tab's url")


def check_url(template: str, field: str, never: frozenset[str] = frozenset()) -> Origin:
    """As check_text, and where it leads is the template's to say alone. Raises Refused naming the field."""
    check_text(template, field, never)
    found = ORIGIN.match(template)
    if found is None or template[found.end() : found.end() + 1] not in ("", "/", "?", "#"):
        raise invalid(field, "must begin with https:// and a host, without placeholders and without a user")
    if found[3] and not 1 <= int(found[3]) <= 65_535:
        raise invalid(field, "the port is none")
    for literal in parsed(template[found.end() :])[::2]:
        if not URL_LITERAL.fullmatch(literal):
            raise invalid(field, "has a character that must be percent-encoded in a URL")
    path, query, _ = _divided(template[found.end() :])
    if any(_dots(one) in DOT_SEGMENTS for one in SLASH.split(path)):
        raise invalid(field, "has a path segment . or ..")
    if any("{" in pair.partition("=")[0] for pair in PLACEHOLDER.sub("{}", query[1:]).split("&")):
        raise invalid(field, "a placeholder may be the value of a query's field, not its name")
    return Origin(found[1].lower(), found[2].strip("[]").lower())


# -- rendering --------------------------------------------------------------------------------------------------------


def plain(template: str, values: Values) -> str:
    """For a place with an encoding of its own: a form's field, a JSON string."""
    return _filled(template, values, str)


def markup(template: str, values: Values) -> str:
    """HTML or Markdown: the template's text as it is, each value as text of one line that is no markup in either."""
    return _filled(template, values, lambda value: value.translate(STRUCTURE))


def url(template: str, values: Values) -> str:
    """A URL, absolute and in ASCII. A path segment that would come out as `.` or `..` is left empty."""
    found = ORIGIN.match(template)
    assert found is not None, "a template is checked before it is stored"
    path, query, fragment = _divided(template[found.end() :])
    segments = (_filled(one, values, component) for one in SLASH.split(path))
    safe = "/".join("" if _dots(one) in DOT_SEGMENTS else one for one in segments)
    return template[: found.end()] + safe + _filled(query, values, component) + _filled(fragment, values, component)


def component(value: str) -> str:
    """One component of a URL: everything percent-encoded that isn't unreserved in RFC 3986."""
    octets = value.encode("utf-8", "replace")
    return "".join(chr(one) if one in UNRESERVED else f"%{one:02X}" for one in octets)


@lru_cache(MAX_PARSED_TEMPLATES)
def parsed(template: str) -> tuple[str, ...]:
    """Literal text and placeholders' names by turns, beginning and ending with text."""
    return tuple(PLACEHOLDER.split(template))


def _filled(template: str, values: Values, encode: Callable[[str], str]) -> str:
    parts = parsed(template)
    return "".join(encode(values.of(part)) if place % 2 else part for place, part in enumerate(parts))


def _divided(rest: str) -> tuple[str, str, str]:
    """What follows the origin: path, query with its `?`, fragment with its `#`. A placeholder's name may hold either."""
    marks = PLACEHOLDER.sub(lambda found: "x" * len(found[0]), rest)
    fragment_at = marks.find("#") if "#" in marks else len(rest)
    query_at = marks.find("?", 0, fragment_at)
    query_at = fragment_at if query_at < 0 else query_at
    return rest[:query_at], rest[query_at:fragment_at], rest[fragment_at:]


def _dots(segment: str) -> str:
    """Receivers take an encoded dot for a dot."""
    return segment.replace("%2e", ".").replace("%2E", ".")
