"""The reference of all types of notifications: `python -m adapters.notify.reference > docs/notification-types.md`."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from adapters.notify.catalogue import CATALOGUE
from engine.ports import Notification

HEAD = """\
# Types of notifications

Made from the types by `python -m adapters.notify.reference`; a test keeps it current. How they come, in which order, and how
they are signed is in [notifications.md](notifications.md).

Every notification is one envelope:

{envelope}

Types and fields are a contract: more may come, none goes or changes its meaning. So pass over what you don't know.

"""
LARGE = frozenset({"settings"})
"""Fields whose own fields are documented elsewhere."""


def reference() -> str:
    """docs/notification-types.md."""
    parts = [HEAD.format(envelope=_table(Notification))]
    for one in CATALOGUE.values():
        example = msgspec.json.format(msgspec.json.encode(_short(one.example)), indent=2).decode()
        parts.append(f"## `{one.name}`\n\n{one.about}\n\n{_table(one.content)}\n\n```json\n{example}\n```\n\n")
    return "".join(parts).rstrip("\n") + "\n"


def _short(example: Notification) -> Notification:
    data = {name: {} if name in LARGE else value for name, value in example.data.items()}
    return msgspec.structs.replace(example, data=data)


def _table(kind: type[msgspec.Struct]) -> str:
    schemas, parts = msgspec.json.schema_components([kind])
    shape = parts[schemas[0]["$ref"].rpartition("/")[2]]
    said = field_texts(kind)
    rows = ["| field | type | |", "|---|---|---|"]
    for name, field in shape["properties"].items():
        optional = "" if name in shape.get("required", ()) or "default" in field else "may be missing; "
        text = " ".join(said.get(name, "").split())
        rows.append(f"| `{name}` | {_named(field, parts)} | {(optional + text).rstrip('; ')} |")
    return "\n".join(rows)


def _named(field: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_named(one, parts) for one in field["anyOf"])
    if "$ref" in field:
        return _named(parts[field["$ref"].rpartition("/")[2]], parts)
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    if field.get("format") == "date-time":
        return "time"
    if field.get("type") == "array":
        return f"list of {_named(field['items'], parts)}"
    return str(field.get("type", "any"))


def field_texts(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The texts below fields, by the names that clients see."""
    encoded = {one.name: one.encode_name for one in msgspec.structs.fields(kind)}
    return {encoded.get(name, name): text for base in reversed(kind.__mro__) for name, text in _texts(base)}


def _texts(kind: type) -> Iterator[tuple[str, str]]:
    if not issubclass(kind, msgspec.Struct) or kind is msgspec.Struct:
        return
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, text in zip(body.body, body.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            yield field.target.id, inspect.cleandoc(str(text.value.value))


if __name__ == "__main__":
    sys.stdout.write(reference())
