"""The table of docs/preview.md: a campaign's settings, as the struct and its docstrings have them."""

import ast
import inspect
import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
from msgspec import inspect as types

from engine.core.campaign import Settings

DOCUMENT = Path(__file__).parents[1] / "docs" / "preview.md"
BEGIN, END = "<!-- computed: python -m simulations settings -->", "<!-- /settings -->"
LONG_CHARS = 40
"""A default longer than this is named, not shown."""


def effects() -> dict[str, str]:
    """What each setting does, by its name: the docstring that stands under it."""
    (struct,) = ast.parse(dedent(inspect.getsource(Settings))).body
    assert isinstance(struct, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(struct.body, struct.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            told = below.value if isinstance(below, ast.Expr) else None
            text = told.value if isinstance(told, ast.Constant) else None
            found[field.target.id] = " ".join(str(text).split()) if text else ""
    return found


def _values(kind: Any) -> str:
    """What a setting may be."""
    match kind:
        case types.Metadata(type=inner):
            return _values(inner)
        case types.BoolType():
            return "true, false"
        case types.EnumType(cls=cls):
            return ", ".join(f"`{one.value}`" for one in cls)
        case types.IntType(ge=least, le=most):
            return f"{least:,} to {most:,}"
        case types.VarTupleType(max_length=most):
            return f"a list of up to {most:,}" if most else "a list"
        case types.StrType():
            return "text"
        case types.UnionType():
            return "an object, or null"
        case _:
            raise AssertionError(f"no words for {kind}")


def _default(value: Any) -> str:
    text = json.dumps(msgspec.to_builtins(value))
    return f"`{text}`" if len(text) <= LONG_CHARS else f"{len(value)} of them"


def table() -> str:
    told, defaults = effects(), Settings()
    kind = types.type_info(Settings)
    assert isinstance(kind, types.StructType)
    rows = [
        f"| `{one.name}` | {_values(one.type)} | {_default(getattr(defaults, one.name))} | {told[one.name]} |"
        for one in kind.fields
    ]
    return "\n".join(["| setting | value | default | effect |", "|---|---|---|---|", *rows])


def document(text: str) -> str:
    """The document with its table anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main() -> int:
    """Write the table of settings in docs/preview.md."""
    DOCUMENT.write_text(document(DOCUMENT.read_text("utf-8")), "utf-8")
    print(f"written: {DOCUMENT.name}")
    return 0
