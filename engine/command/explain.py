"""`ringfold explain`: why a contact stands as it does, offline, from the logs alone."""

import json
import sys
from typing import Any

from adapters.zones import PhoneZones
from engine import explain
from engine.campaigns import log_of
from engine.command.past import read_all
from engine.command.terminal import Config, print_until_closed, settings_at
from engine.core.book import Book
from engine.core.claims import Claims
from engine.core.standing import line_of
from engine.service import SystemClock, open_log_store


def explain_contact(contact: str = "", *, number: str = "", config: Config = None) -> None:
    """Say from the logs, as JSON, how a contact stands, what it waits for, and what happened to it.

    With `--number` instead, how every contact stands that has the number.
    """
    if bool(contact) == bool(number):
        print("ringfold: name a contact, or a --number", file=sys.stderr)
        sys.exit(2)

    async def run() -> None:
        store = await open_log_store(settings_at(config))
        try:
            directory, claims, books = await read_all(store)
            if number:
                told = _explained(number, claims, books)
            else:
                ref = directory.contacts.get(contact, "")
                known = books[ref].contacts.by_ref.get(contact) if ref in books else None
                if known is None:
                    what = (
                        f"its campaign {ref!r} is deleted" if ref and ref not in books else "there is none of that ref"
                    )
                    print(f"ringfold: contact {contact!r}: {what}", file=sys.stderr)
                    sys.exit(1)
                now = explain.contact_now(books[ref], claims, PhoneZones(), known, SystemClock().now_ms())
                told = {"campaign": ref, **now, "history": await explain.history(store.read(log_of(ref)), contact)}
            print(json.dumps(told, indent=2, ensure_ascii=False))
        finally:
            await store.close()

    print_until_closed(run())


def _explained(number: str, claims: Claims, books: dict[str, Book]) -> dict[str, Any]:
    """A number: the lists that have it, and every contact with it."""
    at, zones, line = SystemClock().now_ms(), PhoneZones(), line_of(number)
    having = [
        {"campaign": ref, **explain.contact_now(book, claims, zones, contact, at)}
        for ref, book in books.items()
        for contact in book.contacts.by_ref.values()
        if line in map(line_of, contact.numbers)
    ]
    return {"number": number, "lists": explain.lists_with(claims.standing, number, books), "contacts": having}
