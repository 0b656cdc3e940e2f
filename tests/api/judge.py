"""Every answer is held against the published schema: what is answered must be what is declared, no more and no less."""

import json
from functools import cache
from typing import Any

import aiohttp
import jsonschema_rs
from aiohttp.connector import Connection

from api.app import OPEN_PATHS, ROUTES
from api.openapi import document

JSON, PROBLEM, NDJSON = "application/json", "application/problem+json", "application/x-ndjson"
NOWHERE = (400, 401, 404, 405)
"""Statuses of an address or a method that there isn't; 400 is what can't be read as HTTP."""
SCHEMA: dict[str, Any] = document(ROUTES, "test")


def strict(node: Any) -> Any:
    """Published shapes let clients meet new fields; here an undeclared field is a fault."""
    if isinstance(node, list):
        return [strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: node[key] if key in ("allOf", "enum", "default", "examples") else strict(node[key]) for key in node}
    if node.get("type") == "object" and isinstance(node.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found


STRICT = strict(SCHEMA["components"])


@cache
def validator(method: str, template: str, status: int, media: str) -> Any:
    operation = SCHEMA["paths"][template][method]
    assert str(status) in operation["responses"], f"{method} {template}: {status} is not declared"
    content = operation["responses"][str(status)].get("content", {})
    assert media in content, f"{method} {template} {status}: {media} is none of {list(content)}"
    schema = content[media].get("x-item-schema", content[media].get("schema", {}))
    return jsonschema_rs.Draft202012Validator({**strict(schema), "components": STRICT})


@cache
def template_of(method: str, path: str) -> str | None:
    """The declared address that a path is of; those without parts go first, as in the router."""
    for template in sorted(SCHEMA["paths"], key=lambda one: one.count("{")):
        parts, given = template.split("/"), path.split("/")
        fits = len(parts) == len(given) and all(
            one == two or (one.startswith("{") and two) for one, two in zip(parts, given, strict=True)
        )
        if fits and method in SCHEMA["paths"][template]:
            return str(template)
    return None


def judge(method: str, path: str, status: int, media: str, raw: bytes) -> None:
    """Raises AssertionError: an answer that isn't declared. A HEAD's is its GET's, without the body."""
    head = method == "HEAD"
    operation = "get" if head else method.lower()
    template = template_of(operation, path)
    if template is None:
        _judge_undeclared(method, path, status, media)
        return
    responses = SCHEMA["paths"][template][operation]["responses"]
    if not raw:
        assert str(status) in responses, f"{method} {path}: {status} is not declared"
        assert head or media == "text/event-stream" or "content" not in responses[str(status)], (
            f"{method} {path}: {status} came without its body"
        )
        return
    found = validator(operation, template, status, media)
    if media in (JSON, PROBLEM, NDJSON):
        lines = raw.splitlines() if media == NDJSON else [raw]
        for body in map(json.loads, lines):
            _judge_body(found, f"{method} {path} {status}", body)


def _judge_body(found: Any, where: str, body: Any) -> None:
    """One document, or one line of many."""
    faults = [f"{one.instance_path}: {one.message}" for one in found.iter_errors(body)]
    assert not faults, f"{where}: {faults[:5]} in {str(body)[:1_000]}"


def _judge_undeclared(method: str, path: str, status: int, media: str) -> None:
    """What is for everybody, OPTIONS, and else nothing but the problem that there is no such address or method."""
    if any(path.startswith(one.partition("{")[0]) for one in OPEN_PATHS) or (method, status) == ("OPTIONS", 204):
        return
    assert status in NOWHERE, f"{method} {path}: {status} from an address that isn't declared"
    assert method == "HEAD" or media == PROBLEM, f"{method} {path} {status}: {media} is no problem"


class JudgedResponse(aiohttp.ClientResponse):
    """As any other, but held against the schema: status and media type when it comes, the body when it is read."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        found = await super().start(connection)
        operation = "get" if self.method == "HEAD" else self.method.lower()
        template = template_of(operation, self.url.raw_path)
        if template is not None and "Content-Type" in self.headers:
            validator(operation, template, self.status, self.content_type)
        return found

    async def read(self) -> bytes:
        first = self._body is None
        raw = await super().read()
        if first:
            judge(self.method, self.url.raw_path, self.status, self.content_type, raw)
        return raw


def judged_session(**more: Any) -> aiohttp.ClientSession:
    """A session for asking the service alone: an answer that isn't as declared fails the test that asked."""
    return aiohttp.ClientSession(response_class=JudgedResponse, **more)
