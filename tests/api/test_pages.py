"""Pages for people: without a token, without scripts, without anything from elsewhere."""

import re

from api.problem import CATALOGUE
from tests.api.asking import ask, problem
from tests.api.judge import SCHEMA
from tests.world import World


async def test_the_reference_has_every_address_and_needs_nothing_from_elsewhere(service: World) -> None:
    answer = await ask(service, "GET", "/docs", token="")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    text = answer.raw.decode()
    for path, operations in SCHEMA["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {path}</code>" in text
    assert not re.search(r"<script|https?://|@import|url\(", text)
    anchors = set(re.findall(r'id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= anchors


async def test_every_type_of_a_problem_leads_to_its_cause_and_cure(service: World) -> None:
    for code, entry in CATALOGUE.items():
        answer = await ask(service, "GET", f"/problems/{code}", token="")
        assert answer.status == 200
        assert f"HTTP {entry.status}" in answer.raw.decode()
        assert entry.title.split("`")[0].split("'")[0] in answer.raw.decode()
    problem(await ask(service, "GET", "/problems/xyzzy", token=""), 404, "not-found")


async def test_a_refusals_type_can_be_followed(service: World) -> None:
    refused = await ask(service, "GET", "/v1/campaigns/winter")
    assert (await ask(service, "GET", refused.body["type"], token="")).status == 200


async def test_options_says_which_methods_there_are_and_needs_no_token(service: World) -> None:
    answer = await ask(service, "OPTIONS", "/v1/campaigns/spring", token="")
    assert (answer.status, answer.raw) == (204, b"")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
    assert not [name for name in answer.headers if name.startswith("Access-Control")], "closed to other origins"
    problem(await ask(service, "OPTIONS", "/v2/nothing", token=""), 401, "unauthenticated")
