"""Contact lists that look like real ones: seeded, several numbers each, some rows with nothing but a name and a number.

The numbers lie in ranges that look Colombian and belong to nobody we know: they are only ever dialled at simulated or
loopback carriers.
"""

import csv
import random
from pathlib import Path
from typing import Any

FIRST = "Alma Bruno Celia Darío Elena Fabio Gloria Hugo Inés Joaquín Karina León Marta Nicolás Olga Pedro".split()
LAST = "Arango Bedoya Castaño Duque Echeverri Franco Giraldo Hoyos Londoño Muñoz Ñáñez Ospina Peña Rúa".split()
CITIES = ("Bogotá", "Medellín", "Cali", "Barranquilla", "Cartagena", "Pereira")
PLANS = ("basic", "plus", "family", "business")
COLUMNS = ("ref", "name", "phone_1", "phone_2", "phone_3", "city", "plan", "balance")


def write_csv(path: Path, campaign: str, count: int, seed: int, digits: str = "") -> None:
    """A list of `count` contacts. `digits`: first digits to give the numbers in turn; "" for plausible mobiles."""
    chance = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for index in range(count):
            rows.writerow(_row(campaign, index, chance, digits))


def _row(campaign: str, index: int, chance: random.Random, digits: str) -> list[str]:
    numbers = [_number(index, position, chance, digits) for position in range(chance.choice((1, 2, 2, 3)))]
    return [
        f"{campaign}:{index + 1:05}",
        f"{chance.choice(FIRST)} {chance.choice(LAST)}",
        *numbers,
        *[""] * (3 - len(numbers)),
        chance.choice(CITIES),
        chance.choice(PLANS),
        f"{chance.randrange(0, 900_000) / 100:.2f}",
    ]


def _number(index: int, position: int, chance: random.Random, digits: str) -> str:
    if digits:
        return f"{digits[(index + position) % len(digits)]}{index:04}{position:02}{chance.randrange(1000):03}"
    return f"+573{chance.choice('012')}{index:05}{position}{chance.randrange(10)}"


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Rows as the contacts endpoint takes them."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {
                "ref": row["ref"],
                "name": row["name"],
                "numbers": [row[key] for key in ("phone_1", "phone_2", "phone_3") if row[key]],
                "data": {key: row[key] for key in ("city", "plan", "balance")},
            }
            for row in csv.DictReader(file)
        ]
