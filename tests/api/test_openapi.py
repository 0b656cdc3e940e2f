"""The published schema: valid, whole, the same for everybody, and what is answered."""

import re

import jsonschema_rs
import pytest

from api.app import ROUTES
from api.openapi import problems_of
from api.problem import CATALOGUE
from api.table import DOCUMENT, written
from tests.api.asking import ask
from tests.api.judge import SCHEMA, judge
from tests.world import World


async def test_it_is_served_without_a_token(service: World) -> None:
    answer = await ask(service, "GET", "/openapi.json", token="")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body["paths"].keys() == SCHEMA["paths"].keys()
    assert answer.body["openapi"].startswith("3.1")
    head = await ask(service, "HEAD", "/openapi.json", token="")
    assert (head.status, head.raw) == (200, b"")


def test_every_route_is_in_it() -> None:
    declared = {(method.upper(), path) for path, one in SCHEMA["paths"].items() for method in one}
    assert declared == {(route.method, route.path) for route in ROUTES}


def test_its_schemas_are_schemas_and_its_examples_fit_them() -> None:
    components = SCHEMA["components"]
    for schema in components["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    examples = 0
    for one in SCHEMA["paths"].values():
        for operation in one.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if "example" in content:
                    examples += 1
                    jsonschema_rs.Draft202012Validator({**content["schema"], "components": components}).validate(
                        content["example"]
                    )
    assert examples > 20


async def test_a_body_may_be_left_out_where_the_schema_says_so(service: World) -> None:
    def needed(path: str, method: str) -> bool:
        return bool(SCHEMA["paths"][path][method]["requestBody"]["required"])

    assert not needed("/v1/events/tickets", "post")
    assert (await ask(service, "POST", "/v1/events/tickets")).status == 200
    assert needed("/v1/campaigns/{ref}", "put")
    assert (await ask(service, "PUT", "/v1/campaigns/spring")).status == 422
    assert needed("/v1/campaigns/{ref}/contacts", "post")


def test_every_problem_of_the_catalogue_belongs_to_a_route() -> None:
    """TF-10 and all other refusals: what a client may meet is declared where it may be met."""
    somewhere = set().union(*(problems_of(route) for route in ROUTES))
    anywhere = {"not-found", "method-not-allowed"}
    inside = {"contact-final", "contact-not-yours"}
    assert set(CATALOGUE) - somewhere - anywhere - inside == set()


def test_the_judge_refuses_what_is_not_declared() -> None:
    for status, media, raw in (
        (418, "application/json", b"{}"),
        (200, "text/plain", b"x"),
        (200, "application/json", b'{"campaigns": [], "more": 1}'),
        (200, "application/json", b"{}"),
        (200, "application/json", b""),
        (409, "application/problem+json", b'{"type": "/problems/no-attempt"}'),
    ):
        with pytest.raises(AssertionError):
            judge("GET", "/v1/campaigns", status, media, raw)
    judge("GET", "/v1/campaigns", 200, "application/json", b'{"campaigns": [], "next": null}')
    judge("GET", "/v1/nothing", 404, "application/problem+json", b"{}")
    for status, media in ((200, "application/json"), (404, "text/html")):
        with pytest.raises(AssertionError):
            judge("GET", "/v1/nothing", status, media, b"{}")


async def test_a_parameter_that_is_unknown_or_given_twice_is_named(service: World) -> None:
    for query, field in (("xyzzy=1", "xyzzy"), ("campaign=a&campaign=b", "campaign")):
        answer = await ask(service, "GET", f"/v1/imports?{query}")
        assert (answer.status, answer.code, answer.fields) == (422, "invalid-request", [field])


def test_SG_01_the_table_of_routes_and_roles_is_current() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert text == written(text, ROUTES), "write it anew: python -m api.table"


async def test_a_path_that_names_nothing_is_answered_as_declared(service: World) -> None:
    """Each part of each path in a form no name has; `ask` judges every answer by the schema."""
    asked = 0
    for route in ROUTES:
        parts = re.findall(r"{(\w+)}", route.path)
        for wrong in parts:
            filled = {part: "%C2%84" if part == wrong else "spring" for part in parts}
            answer = await ask(service, route.method, route.path.format_map(filled), {})
            assert answer.status < 500, (route.method, route.path, wrong, answer)
            asked += 1
    assert asked > 50
