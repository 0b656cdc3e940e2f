"""The table of docs/api.md: every route with what it does and who may take it. `python -m api.table` writes it anew."""

from collections.abc import Iterable
from pathlib import Path

from api.app import ROUTES
from api.route import Route
from api.token import Role

DOCUMENT = Path(__file__).parents[1] / "docs" / "api.md"
HEADING = "## Routes and roles\n"
SHOWN = (Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.AGENT, Role.CRM, Role.METRICS)


def table(routes: Iterable[Route]) -> str:
    rows = "\n".join(
        f"| `{route.method} {route.path}` | {route.summary} | "
        + " | ".join("•" if role in route.roles else "" for role in SHOWN)
        + " |"
        for route in routes
    )
    names = " | ".join(role.value.replace("_", " ") for role in SHOWN)
    return f"{HEADING}\n| route | what it does | {names} |\n|---|---|{'---|' * len(SHOWN)}\n{rows}\n"


def written(text: str, routes: Iterable[Route]) -> str:
    """The document with the table as it is now, at its end."""
    return text.partition(HEADING)[0].rstrip("\n") + "\n\n" + table(routes)


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8"), ROUTES), "utf-8")
