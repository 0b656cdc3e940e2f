"""The published schema: OpenAPI 3.1, made from the routes and their types."""

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from api.edition import EDITS
from api.example import BODIES, PARTS
from api.problem import CATALOGUE, MEDIA_TYPE, ProblemBody
from api.route import Answer, Media, Pages, Route
from engine.ports import NotificationType

REFS = "#/components/schemas/{name}"
JSON = "application/json"
ALWAYS = (
    "bad-request",
    "unauthenticated",
    "forbidden",
    "invalid-request",
    "too-many-requests",
    "too-many-in-flight",
    "overloaded",
    "internal",
    "unavailable",
)
"""Problems that any route may answer with."""
WITH_BODY = ("malformed-json", "body-too-slow", "body-too-large", "unsupported-media-type")
UNKEPT = (
    "/v1/agents/{agent}/next",
    "/v1/persons/export",
    "/v1/sessions",
    "/v1/events/tickets",
    "/v1/webhooks/{webhook}/rotate",
)
"""Their answers hold people's data, open doors or tell secrets, which is kept nowhere else."""
KEYED = ("bad-idempotency-key", "request-under-way", "idempotency-key-reused")
COMMANDS = ("mailbox-full", "draining")
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A request that is sent again under its key is answered as the first was, and done once.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:@/+=-]{1,128}$"},
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETags of answers that the client has: where this would be one of them, it is 304.",
    "schema": {"type": "string"},
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "ETags of the editions that the edit is meant for, or `*` for any that is there; else it is 412.",
    "schema": {"type": "string"},
}
UNLESS_THERE = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "`*`: make what isn't there, and change nothing that is; else it is 412.",
    "schema": {"type": "string"},
}
ETAG = {"description": "For `If-None-Match` and `If-Match`.", "schema": {"type": "string"}}
CONDITIONS = ("revision-mismatch", "already-there")
PART = re.compile(r"\{(\w+)\}")

Json = dict[str, Any]


def document(
    routes: Iterable[Route], version: str, notifications: Mapping[str, NotificationType] | None = None
) -> Json:
    """The whole, with every type of notification, by its name."""
    routes = list(routes)
    told = dict(notifications or {})
    types = [one for route in routes for one in _types(route)] + [ProblemBody, *(one.envelope for one in told.values())]
    shapes = _Shapes(types)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, shapes)
    _link(routes, paths)
    queries = {route.query.__name__ for route in routes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ringfold",
            "version": version,
            "summary": "An outbound dialer engine.",
            "description": (
                "A 202 says that a command is durable, not what became of it: that is told by notifications, in order."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "webhooks": {name: _webhook(one, shapes.of(one.envelope)) for name, one in told.items()},
        "components": {
            "schemas": {name: one for name, one in shapes.components.items() if name not in queries},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "PASETO v4.public"}},
        },
    }


# -- types --------------------------------------------------------------------------------------------------------------


class _Shapes:
    """JSON schemas of types, and the components that they share."""

    def __init__(self, types: Sequence[Any]) -> None:
        known = {repr(one): one for one in types}
        schemas, self.components = msgspec.json.schema_components(list(known.values()), ref_template=REFS)
        self._of = dict(zip(known, schemas, strict=True))
        for cls in _structs(list(known.values())):
            self._describe(cls)

    def of(self, type_: Any) -> Json:
        return dict(self._of[repr(type_)])

    def _describe(self, cls: type[msgspec.Struct]) -> None:
        schema = self.components.get(cls.__name__)
        if schema is None:
            return
        if cls.__doc__:
            schema["description"] = inspect.cleandoc(cls.__doc__)
        said = {name: text for one in reversed(cls.__mro__) for name, text in _field_docs(one).items()}
        for name, field in schema.get("properties", {}).items():
            if name in said:
                field.setdefault("description", said[name])


def _structs(types: Sequence[Any]) -> Iterator[type[msgspec.Struct]]:
    """Every struct in the types, however deep."""
    seen: set[Any] = set()
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while waiting:
        one = waiting.pop()
        if isinstance(one, msgspec.inspect.StructType):
            if one.cls in seen:
                continue
            seen.add(one.cls)
            yield one.cls
        if isinstance(one, msgspec.inspect.Type | msgspec.inspect.Field):
            for name in one.__struct_fields__:
                value = getattr(one, name)
                waiting += value if isinstance(value, tuple) else (value,)


def _field_docs(cls: type) -> dict[str, str]:
    """The texts that stand below fields."""
    return _texts(cls.__module__).get(cls.__qualname__, {})


@cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """Of every class of a module, by its qualified name. A module is read once: `inspect` would read it for each class."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):  # of a struct that was made while running
        return {}
    return dict(_classes(ast.parse(source), ""))


def _classes(inside: ast.AST, prefix: str) -> Iterator[tuple[str, dict[str, str]]]:
    for node in ast.iter_child_nodes(inside):
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, _below_fields(node)
            yield from _classes(node, f"{prefix}{node.name}.")


def _below_fields(found: ast.ClassDef) -> dict[str, str]:
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in zip(found.body, found.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _types(route: Route) -> Iterator[Any]:
    for one in _bodies(route.takes):
        yield from _named_by(one)
    for answers in route.gives.values():
        for answer in _answers(answers):
            yield from _named_by(answer.type)
    yield route.query


def _named_by(type_: Any) -> Iterator[Any]:
    if isinstance(type_, Media):
        type_ = type_.of
    if type_ is not None:
        yield type_


def _bodies(takes: Any) -> tuple[Any, ...]:
    if takes is None:
        return ()
    return takes if isinstance(takes, tuple) and not isinstance(takes, Media) else (takes,)


def _answers(given: Any) -> tuple[Answer, ...]:
    plain = isinstance(given, Answer | Media) or not isinstance(given, tuple)
    return tuple(one if isinstance(one, Answer) else Answer(one) for one in ((given,) if plain else given))


# -- operations ---------------------------------------------------------------------------------------------------------


def _operation(route: Route, shapes: _Shapes) -> Json:
    name = f"{route.method} {route.path}"
    found: Json = {
        "operationId": operation_id(route),
        "tags": [_tag(route.path)],
        "summary": route.summary,
        "description": _description(route),
        "x-roles": sorted(route.roles),
        "parameters": [*_parts(route.path), *_parameters(route.query, shapes), *_headers(route)],
        "responses": _responses(route, shapes),
    }
    content: Json = {}
    for body in _bodies(route.takes):
        content |= _content(body, shapes)
    if content:
        if name in BODIES:
            content[JSON]["example"] = BODIES[name]
        found["requestBody"] = {"required": _must_come(route.takes), "content": content}
    return found


def _must_come(takes: Any) -> bool:
    """Whether a body may not be left out: nothing is taken for `{}`, which is enough where no field is required."""
    known = [one for one in _bodies(takes) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return not known or any(field.required for one in known for field in msgspec.structs.fields(one))


def _headers(route: Route) -> list[Json]:
    if route.method == "GET":
        return [IF_NONE_MATCH] if shows(route) else []
    if route.method in EDITS:
        return [IF_MATCH, UNLESS_THERE] if route.method == "PUT" else [IF_MATCH]
    return [KEY] if is_keyed(route) else []


def shows(route: Route) -> bool:
    """Whether it shows something as it is now, with an ETag."""
    plain = [answer.type for answer in _answers(route.gives.get(200, ())) if not isinstance(answer.type, Media)]
    return route.method in ("GET", "PUT") and bool(plain)


def operation_id(route: Route) -> str:
    return "_".join([route.method.lower(), *re.findall(r"\w+", route.path.removeprefix("/v1"))])


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1] if parts[0] == "v1" else "service"


def _description(route: Route) -> str:
    said = inspect.getdoc(route.handler) or ""
    return f"{said}\n\nRoles: {', '.join(sorted(route.roles))}.".strip()


def _parts(path: str) -> list[Json]:
    found = []
    for name in PART.findall(path):
        part = PARTS[name]
        schema = {"type": "string", "pattern": part.pattern}
        found.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": part.description,
                "schema": schema,
                "example": part.example,
            }
        )
    return found


def _parameters(query: type[msgspec.Struct], shapes: _Shapes) -> list[Json]:
    """A parameter that may be left out has a default; null is how the struct says that it wasn't given."""
    schema = shapes.components[query.__name__]
    found = []
    for name, field in schema.get("properties", {}).items():
        shape = {key: value for key, value in field.items() if key not in ("description", "default")}
        choices = [one for one in shape.pop("anyOf", ()) if one != {"type": "null"}]
        if len(choices) == 1:
            shape |= choices[0]
        if field.get("default") is not None:
            shape["default"] = field["default"]
        required = name in schema.get("required", ())
        found.append({"name": name, "in": "query", "required": required, "schema": shape})
        if "description" in field:
            found[-1]["description"] = field["description"]
    return found


def _content(body: Any, shapes: _Shapes) -> Json:
    if not isinstance(body, Media):
        return {JSON: {"schema": shapes.of(body)}}
    if body.of is None:
        return {one: {} for one in body.types}
    if JSON in body.types:
        return {one: {"schema": shapes.of(body.of)} for one in body.types}
    each = {
        "schema": {"type": "string", "description": "A JSON document on each line, each as `x-item-schema` says."},
        "x-item-schema": shapes.of(body.of),
    }
    return dict.fromkeys(body.types, each)


def _responses(route: Route, shapes: _Shapes) -> Json:
    found: dict[str, Json] = {}
    for status, given in route.gives.items():
        answers = _answers(given)
        entry: Json = {"description": HTTPStatus(status).phrase}
        content: Json = {}
        for answer in answers:
            if answer.type is not None:
                _merge(content, _content(answer.type, shapes))
            if answer.headers:
                entry["headers"] = {
                    name: {"description": said, "schema": {"type": "string"}} for name, said in answer.headers.items()
                }
        if content:
            entry["content"] = content
        if status in (200, 201) and shows(route):
            entry["headers"] = {**entry.get("headers", {}), "ETag": ETAG}
        found[str(status)] = entry
    if route.method == "GET" and shows(route):
        found["304"] = {"description": "The client has it.", "headers": {"ETag": ETAG}}
    for status, codes in sorted(_problems(route).items()):
        entry = found.setdefault(str(status), {"description": "; ".join(f"`{code}`" for code in codes)})
        entry.setdefault("content", {})[MEDIA_TYPE] = {"schema": _problem(status, codes, shapes)}
    return found


def _merge(content: Json, more: Json) -> None:
    """One of several shapes, where a media type has them."""
    for media, one in more.items():
        if media in content:
            known = content[media]["schema"]
            content[media] = {"schema": {"anyOf": [*known.get("anyOf", [known]), one["schema"]]}}
        else:
            content[media] = one


def _problem(status: int, codes: Sequence[str], shapes: _Shapes) -> Json:
    kinds = [f"/problems/{code}" for code in codes]
    return {"allOf": [shapes.of(ProblemBody), {"properties": {"type": {"enum": kinds}, "status": {"const": status}}}]}


def is_keyed(route: Route) -> bool:
    """Whether it heeds an Idempotency-Key."""
    return route.method == "POST" and not isinstance(route.takes, Media) and route.path not in UNKEPT


def problems_of(route: Route) -> set[str]:
    """Every code that it may refuse with."""
    found = {*ALWAYS, *route.problems}
    if _bodies(route.takes):
        found |= set(WITH_BODY)
    if route.method != "GET":
        found |= set(COMMANDS)
    if is_keyed(route):
        found |= set(KEYED)
    if route.method in EDITS:
        found |= set(CONDITIONS)
    if "{" in route.path:
        found.add("not-found")
    if issubclass(route.query, Pages):
        found.add("bad-cursor")
    if "unknown-campaign" in found:
        found.add("campaign-deleted")
    return found


def _problems(route: Route) -> dict[int, list[str]]:
    """By status. What is deleted is gone for who reads it, and a rule's refusal for who commands it."""
    found: dict[int, list[str]] = {}
    for code in sorted(problems_of(route)):
        gone = code == "campaign-deleted" and route.method == "GET"
        found.setdefault(410 if gone else CATALOGUE[code].status, []).append(code)
    return found


def _link(routes: Sequence[Route], paths: Mapping[str, Json]) -> None:
    """What was put can be used by every address below it: a client, or a tester, finds its way by these links."""
    for made in routes:
        if made.method != "PUT":
            continue
        known = PART.findall(made.path)
        links = {
            operation_id(other): {
                "operationId": operation_id(other),
                "parameters": {name: f"$request.path.{name}" for name in known},
            }
            for other in routes
            if other.path.startswith(made.path) and PART.findall(other.path) == known and other is not made
        }
        for status, response in paths[made.path]["put"]["responses"].items():
            if status in ("200", "201") and links:
                response["links"] = links


def _webhook(told: NotificationType, schema: Json) -> Json:
    content = {"schema": schema, "example": msgspec.to_builtins(told.example)}
    return {
        "post": {
            "operationId": f"told_{told.name.replace('.', '_')}",
            "summary": told.name,
            "description": told.about,
            "requestBody": {"required": True, "content": {JSON: content}},
            "responses": {"2XX": {"description": "Taken. Anything else is tried again."}},
        }
    }
