"""Templates: given a value that wants to be more than a value, when it is filled in, then it is a value still."""

import html
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.refusal import Fault, Refused
from engine.core.template import KNOWN, Values, check_markup, check_text, check_url, markup, plain, url

HOSTILE = [
    "{}",
    "{{",
    "}}",
    "{contact.ref}",
    "{{contact.ref}}",
    "%0d%0aSet-Cookie: a=b",
    "\r\nHost: evil.example\r\n\r\n",
    "\x00",
    "\"'`",
    "'; drop table contacts; --",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![](https://evil.example/x.png)",
    "../../admin",
    "..",
    ".",
    "%2e%2e",
    "%2E.",
    "//evil.example",
    "/\\evil.example",
    "https://evil.example/",
    "@evil.example",
    ":8443",
    "?admin=1",
    "&admin=1",
    "#fragment",
    "a=b;c=d",
    "100%",
    "%",
    "a b+c",
    "Ä\u202e中\U0001f600",
    "half \ud800 a pair",
    "$(reboot) ${HOME} $[1]",
]


def values(text: str) -> Values:
    return Values(dict.fromkeys(KNOWN, text), {"note": text, "a/b?c#d&e=f": text})


def refusal(template: str, *, of_url: bool) -> str:
    with pytest.raises(Refused) as refused:
        (check_url if of_url else check_text)(template, "settings.script")
    assert (refused.value.fault, refused.value.field) == (Fault.INVALID, "settings.script")
    return refused.value.detail


# -- what may be stored -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(KNOWN | {"contact.data.note", "contact.data.Grüße (neu)"}))
def test_OM_04_every_placeholder_that_is_documented_is_known(name: str) -> None:
    check_text(f"before {{{name}}} after", "settings.script")
    check_url(f"https://crm.example/{{{name}}}?a={{{name}}}", "settings.script")


@pytest.mark.parametrize(
    "template",
    [
        "{}",
        "{{",
        "}}",
        "{{contact.ref}}",
        "{contact.ref",
        "contact.ref}",
        "{ contact.ref }",
        "{contact}",
        "{contact.data}",
        "{contact.data.}",
        "{contact.token}",
        "{agent.__class__}",
        "{contact.ref!r}",
        "{0}",
        "{contact.data.a\nb}",
    ],
)
def test_SG_18_a_brace_that_is_no_known_placeholder_is_refused_naming_the_field(template: str) -> None:
    refusal(template, of_url=False)
    refusal(f"https://crm.example/{template}", of_url=True)


@pytest.mark.parametrize(
    "template",
    [
        '<a href="{contact.data.url}">open</a>',
        "<a href={contact.data.url}>",
        "<img\nsrc=x alt='{contact.name}'>",
        "<{contact.data.tag}>",
        "</{contact.data.tag}>",
        "<{contact.data.url}",
        "[open]({contact.data.url})",
        "[open](https://crm.example/{contact.ref})",
        "![x]( {contact.data.url} 'title')",
        "[ref]: {contact.data.url}",
        "text\n [ref]: https://crm.example/{contact.ref}",
        "<script>let name = 1</script>",
        "<SCRIPT src=x>",
        "< style>",
        "<iframe src='https://evil.example'>",
    ],
)
def test_SG_18_a_placeholder_stands_in_text_only(template: str) -> None:
    with pytest.raises(Refused):
        check_markup(template, "settings.script")


@pytest.mark.parametrize(
    "template",
    [
        "<b>{contact.name}</b> [terms](https://crm.example/terms) ({contact.number})",
        "5 < {contact.data.age} > 3",
        "[{contact.name}] {agent.name}: a [list]: {contact.data.x}",
        "# {contact.name}\n\n- {contact.number}\n",
        "<a href='https://crm.example/'>{contact.ref}</a>",
    ],
)
def test_SG_18_text_around_placeholders_may_be_markup(template: str) -> None:
    check_markup(template, "settings.script")


@pytest.mark.parametrize(
    "template",
    [
        "{contact.data.note}",
        "{contact.data.scheme}://crm.example/",
        "https://{contact.data.host}/",
        "https://{contact.data.host}.crm.example/",
        "https://crm.example{contact.data.note}/",
        "https://crm.example{contact.data.note}",
        "https://crm.example:{contact.data.port}/",
        "https://{agent.id}@crm.example/",
        "https://user:secret@crm.example/",
        "https://crm.example@evil.example/",
        "https://crm.example\\@evil.example/",
        "https:crm.example/",
        "https:///crm.example/",
        "//crm.example/",
        "/contacts/{contact.ref}",
        "javascript:alert(1)",
        "ftp://crm.example/",
        "https://",
        "https://crm example/",
        "https://crm.example:0/",
        "https://crm.example:65536/",
        "https://crm.example:8443x/",
        "https://crm.example/a/../{contact.ref}",
        "https://crm.example/%2e%2E/{contact.ref}",
        "https://crm.example/./x",
        "https://crm.example/a b",
        "https://crm.example/\\evil.example",
        "https://crm.example/%0",
        "https://crm.example/é",
        "https://crm.example/\r\nX: y",
        "https://crm.example/?{contact.data.name}=1",
        "https://crm.example/?a=1&{contact.data.name}",
        "https://crm.example/?a=1&x{contact.data.a=b}=2",
    ],
)
def test_OM_04_where_a_url_leads_is_never_a_placeholders_to_say(template: str) -> None:
    refusal(template, of_url=True)


@pytest.mark.parametrize(
    ("template", "origin"),
    [
        ("https://crm.example", ("https", "crm.example")),
        ("HTTPS://CRM.Example:8443/x", ("https", "crm.example")),
        ("http://10.1.2.3/#/contacts/{contact.ref}", ("http", "10.1.2.3")),
        ("https://[2001:db8::1]:444/?q={contact.name}", ("https", "2001:db8::1")),
    ],
)
def test_where_a_url_leads_is_told(template: str, origin: tuple[str, str]) -> None:
    assert check_url(template, "x") == origin


def test_what_has_no_value_here_is_refused() -> None:
    never = frozenset({"disposition.code"})
    check_text("{disposition.code}", "x")
    with pytest.raises(Refused, match="has no value here"):
        check_text("{disposition.code}", "x", never)


# -- what comes out ---------------------------------------------------------------------------------------------------

EVERYWHERE = (
    "https://crm.example:8443/c/{contact.ref}/x-{contact.data.note}/t?q={contact.name}&r=1-{agent.name}#f/{call.id}"
)


def sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def check_components(text: str) -> None:
    """Each value is one component, and comes back as it was; the literal text is as it was."""
    made = urlsplit(url(EVERYWHERE, values(text)))
    assert made.geturl().isascii()
    assert (made.scheme, made.netloc) == ("https", "crm.example:8443")
    dotted = text.lower().replace("%2e", ".") in (".", "..")
    expected = "" if dotted and text in (".", "..") else sound(text)
    assert [unquote(one) for one in made.path.split("/")] == ["", "c", expected, f"x-{sound(text)}", "t"]
    found = parse_qsl(made.query, keep_blank_values=True, strict_parsing=True, separator="&")
    assert found == [("q", sound(text)), ("r", f"1-{sound(text)}")]
    assert unquote(made.fragment) == f"f/{sound(text)}"


@pytest.mark.parametrize("text", HOSTILE)
def test_OM_04_a_hostile_value_stays_one_component_of_a_url(text: str) -> None:
    check_components(text)


@given(st.text(max_size=40))
def test_any_value_stays_one_component_of_a_url(text: str) -> None:
    check_components(text)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_percent_encoding_is_that_of_the_standard_library(text: str) -> None:
    assert url("https://h/?q={contact.name}", values(text)) == f"https://h/?q={quote(text, safe='')}"


@pytest.mark.parametrize(("before", "text"), [("", ".."), ("", "."), (".", "."), ("%2e", "."), ("%2E", ".")])
def test_OM_04_no_value_climbs_out_of_its_path(before: str, text: str) -> None:
    assert url(f"https://h/a/{before}{{contact.ref}}/b", values(text)) == "https://h/a//b"


def test_dots_across_two_placeholders_do_not_climb_either() -> None:
    assert url("https://h/a/{contact.ref}{call.id}/b", values(".")) == "https://h/a//b"


def test_a_key_may_hold_what_divides_urls() -> None:
    template = "https://h/{contact.data.a/b?c#d&e=f}/x?v={contact.data.a/b?c#d&e=f}"
    check_url(template, "x")
    assert url(template, values("..")) == "https://h//x?v=.."


def test_what_is_not_known_renders_empty() -> None:
    nothing = Values({}, {})
    assert plain("a{contact.data.absent}b{contact.name}c", nothing) == "abc"
    assert url("https://h/{contact.data.absent}?q={contact.name}", nothing) == "https://h/?q="


@pytest.mark.parametrize("text", HOSTILE)
def test_SG_18_a_hostile_value_is_text_in_html(text: str) -> None:
    made = markup("<p>Dear *{contact.name}*,</p>", values(text))
    assert made.startswith("<p>Dear *")
    inside = made.removeprefix("<p>Dear *").removesuffix("*,</p>")
    assert not set(inside) & set("<>\"'\r\n")
    assert html.unescape(inside) == html.unescape(html.escape(text.replace("\r", " ").replace("\n", " ")))


@pytest.mark.parametrize(
    "text", ["[a](https://evil.example)", "![](x)", "*a*", "_a_", "`a`", "# a", "a|b", "~~a~~", "\\"]
)
def test_SG_18_a_value_makes_no_markdown(text: str) -> None:
    made = markup("{contact.name}", values(text))
    assert not set(made.replace("&#", "")) & set("\\`*_[]()#!|~")
    assert html.unescape(made) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_values_are_not_templates(text: str) -> None:
    assert plain("{contact.name}", values(text)) == text
