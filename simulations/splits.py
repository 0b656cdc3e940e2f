"""The tables of docs/preview.md: how contacts are split over agents, asked of the core itself."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from engine.core.preassign import dealt, shares, shuffled

DOCUMENT = Path(__file__).parents[1] / "docs" / "preview.md"
BEGIN, END = "<!-- computed: python -m simulations splits -->", "<!-- /computed -->"
WEIGHTS = (1, 2, 5)


def split_table() -> str:
    """Shares of a few typical splits."""
    thirty = {f"a{place:02}": WEIGHTS[place % 3] for place in range(30)}
    rows = [
        ("199 contacts, 100 agents", shares(199, {f"a{place:03}": 1 for place in range(100)})),
        ("10 contacts, 4 agents", shares(10, dict.fromkeys("abcd", 1))),
        ("1,000 contacts, 30 agents of weight 1, 2, 5 in turn", shares(1_000, thirty)),
        ("7 contacts, weights 3, 2, 1", shares(7, {"a": 3, "b": 2, "c": 1})),
    ]
    lines = ["| split | share: agents who get it | in all |", "|---|---|---|"]
    for name, split in rows:
        groups = Counter(split.values())
        told = ", ".join(f"{share}: {groups[share]}" for share in sorted(groups, reverse=True))
        lines.append(f"| {name} | {told} | {sum(split.values()):,} |")
    return "\n".join(lines)


def order_table() -> str:
    """Who gets the first contacts of a split."""
    even = "".join(list(dealt({"a": 4, "b": 2, "c": 1})))
    rows = [("by weight 4, 2, 1", even)]
    rows += [(f"the same at random, seed {seed}", "".join(shuffled(list(even), seed))) for seed in (7, 7, 8)]
    return "\n".join(
        ["| seven contacts, in order of arrival | go to |", "|---|---|", *(f"| {a} | `{b}` |" for a, b in rows)]
    )


def leaving_table() -> str:
    """Twelve contacts: who has how many, as agents come and go."""
    steps: list[tuple[str, Mapping[str, int]]] = [
        ("a and b at the start", shares(12, {"a": 1, "b": 1})),
        ("c joins", shares(12, {"a": 1, "b": 1, "c": 1})),
        ("a leaves", shares(12, {"b": 1, "c": 1})),
    ]
    lines = ["| then | a | b | c |", "|---|---|---|---|"]
    lines += [f"| {name} | " + " | ".join(str(split.get(one, "–")) for one in "abc") + " |" for name, split in steps]
    return "\n".join(lines)


def computed() -> str:
    return f"{BEGIN}\n\n{split_table()}\n\n{order_table()}\n\n{leaving_table()}\n\n{END}"


def document(text: str) -> str:
    """The document with its computed part anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + computed() + after


def main() -> int:
    """Write the tables of docs/preview.md."""
    DOCUMENT.write_text(document(DOCUMENT.read_text("utf-8")), "utf-8")
    print(f"written: {DOCUMENT.name}")
    return 0
