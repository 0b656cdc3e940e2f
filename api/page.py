"""Pages for people: the API's reference and what problems mean. Plain HTML made here: no scripts, nothing from elsewhere."""

import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

import msgspec

from api.problem import CATALOGUE, Entry

CODE = re.compile(r"`([^`]+)`")
METHODS = ("get", "put", "post", "patch", "delete")
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1b1b1b;background:#fff}"
    "code,pre{font:14px/1.45 ui-monospace,monospace;background:#f3f3f0;border-radius:3px}code{padding:0 .2em}"
    "pre{padding:.7em;overflow:auto}h2{margin-top:2.5rem;border-bottom:1px solid #ccc}h3{margin:2rem 0 .3rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25em .8em .25em 0;"
    "border-bottom:1px solid #e5e5e5}summary{cursor:pointer}.roles{color:#555}"
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content-Security-Policy: the page loads nothing and runs nothing."""

Json = Mapping[str, Any]


def reference(schema: Json) -> str:
    """The whole API on one page, from its OpenAPI document."""
    groups: dict[str, list[str]] = {}
    for path, operations in schema["paths"].items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                groups.setdefault(operation["tags"][0], []).append("".join(_operation(method, path, operation)))
    contents = " · ".join(f'<a href="#{name}">{name}</a>' for name in [*groups, "notifications", "shapes", "problems"])
    body = [f"<h1>Ringfold {escape(schema['info']['version'])}: the API</h1>", f"<p>{contents}</p>"]
    body.append(
        f"<p>{_text(schema['info']['description'])} The same for machines: <a href='/openapi.json'>openapi.json</a>.</p>"
    )
    for name, operations in groups.items():
        body += [f'<h2 id="{name}">{name}</h2>', *operations]
    body.append('<h2 id="notifications">Notifications</h2>')
    for name, one in schema["webhooks"].items():
        body += _notification(name, one["post"])
    body.append('<h2 id="shapes">Shapes</h2>')
    body += [_shape(name, one) for name, one in sorted(schema["components"]["schemas"].items())]
    rows = "".join(_problem_row(code, entry) for code, entry in sorted(CATALOGUE.items()))
    body.append(f'<h2 id="problems">Problems</h2><table>{rows}</table>')
    return _page("Ringfold API", body)


def problem(code: str) -> str | None:
    """What a problem means and what to do about it; None for one that there isn't."""
    entry = CATALOGUE.get(code)
    if entry is None:
        return None
    body = [
        f"<h1>{_text(entry.title)}</h1>",
        f"<p><code>{escape(code)}</code>, HTTP {entry.status}. A refused request changed nothing.</p>",
        f"<p>What to do: {_text(entry.cure)}</p>",
        "<p><a href='/docs#problems'>All problems</a></p>",
    ]
    return _page(entry.title, body)


def _page(title: str, body: Iterable[str]) -> str:
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>{''.join(body)}</html>"
    )


def _notification(name: str, one: Json) -> Iterator[str]:
    content = one["requestBody"]["content"]["application/json"]
    example = msgspec.json.format(msgspec.json.encode(content["example"]), indent=2).decode()
    yield f'<h3 id="{one["operationId"]}"><code>{escape(name)}</code></h3>'
    yield f"<p>{_text(one['description'])} {_type(content['schema'])}</p>"
    yield f"<details><summary>Example</summary><pre>{escape(example)}</pre></details>"


def _operation(method: str, path: str, one: Json) -> Iterator[str]:
    yield f'<h3 id="{one["operationId"]}"><code>{method.upper()} {escape(path)}</code></h3>'
    yield f"<p><b>{_text(one['summary'])}.</b> {_text(one['description'])}</p>"
    if one["parameters"]:
        rows = "".join(
            f"<tr><td><code>{escape(part['name'])}</code><td>{part['in']}<td>{_type(part['schema'])}"
            f"<td>{_text(part.get('description', ''))}"
            for part in one["parameters"]
        )
        yield f"<table>{rows}</table>"
    for media, content in one.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Takes <code>{escape(media)}</code>: {_type(content.get('schema', {}))}</p>"
        if "example" in content:
            example = msgspec.json.format(msgspec.json.encode(content["example"]), indent=2).decode()
            yield f"<pre>{escape(example)}</pre>"
    rows = "".join(_answer(status, answer) for status, answer in one["responses"].items())
    yield f"<details><summary>Answers</summary><table>{rows}</table></details>"


def _answer(status: str, answer: Json) -> str:
    shown = ", ".join(
        _type(content.get("schema", {})) or f"<code>{escape(media)}</code>"
        for media, content in answer.get("content", {}).items()
        if not media.startswith("application/problem")
    )
    headers = "".join(
        f" <code>{name}</code>: {_text(said['description'])}" for name, said in answer.get("headers", {}).items()
    )
    return f"<tr><td>{status}<td>{_text(answer['description'])}<td>{shown}{headers}"


def _shape(name: str, schema: Json) -> str:
    if "enum" in schema:
        said = ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
        return f'<h3 id="{name}">{name}</h3><p>{said}</p>'
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code><td>{'' if field in required else 'optional'}<td>{_type(one)}"
        f"<td>{_text(one.get('description', ''))}"
        for field, one in schema.get("properties", {}).items()
    )
    return f'<h3 id="{name}">{name}</h3><p>{_text(schema.get("description", ""))}</p><table>{rows}</table>'


def _type(schema: Json) -> str:
    """A schema in a few words, with links to the shapes it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    for key, word in (("anyOf", " or "), ("allOf", " and ")):
        if key in schema:
            return word.join(_type(one) for one in schema[key])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {})) or 'anything'}"
    words = [str(schema["type"])] if "type" in schema else []
    words += [" | ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])] if "enum" in schema else []
    for key, said in (
        ("minimum", "from"),
        ("maximum", "to"),
        ("maxLength", "at most (characters)"),
        ("pattern", "like"),
    ):
        if key in schema:
            words.append(f"{said} <code>{escape(str(schema[key]))}</code>")
    return " ".join(words)


def _problem_row(code: str, entry: Entry) -> str:
    link = f"<a href='/problems/{code}'><code>{code}</code></a>"
    return f"<tr><td>{link}<td>{entry.status}<td>{_text(entry.title)}<td>{_text(entry.cure)}"


def _text(said: str) -> str:
    return CODE.sub(lambda match: f"<code>{match[1]}</code>", escape(said, quote=False)).replace("\n\n", "<br>")
