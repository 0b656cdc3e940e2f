"""A reservation: every command about a contact in every phase of it."""

import pytest

from engine.core import delivery, preview
from engine.core.effect import ReservationDue
from engine.core.refusal import Refused
from simulations.states import PHASES, book_with, reservation_cells, reservation_messages
from tests.engine.core.truth import compare, table

WORDS = {
    "lost": "refused: reservation-lost",
    "none such": "refused: unknown-reservation",
    "in call": "refused: reservation-in-call",
    "busy": "refused: contact-in-call",
    "twice": "refused: call-in-progress",
    "talked": "refused: contact-answered",
    "wrong": "refused: invalid-request",
    "undialled": "refused: no-attempt",
    "reserved": "contact.reserved",
    "dialled": "call.requested",
    "longer": "contact.reservation_extended (heartbeat)",
    "skipped": "contact.released (skipped)",
    "released": "contact.released (released)",
    "expired": "contact.released (expired)",
    "disposed": "contact.disposed",
    "cancelled": "contact.cancelled (asked not to be called)",
    "let go": "contact.released (cancelled), contact.cancelled (asked not to be called)",
}
RESERVATION = """
                                            none        offered     dialing   wrapup
next                                      | reserved  | –         | –       | –
dial                                      | lost      | dialled   | twice   | talked
dial, a number that isn't the contact's   | lost      | wrong     | twice   | talked
extend                                    | lost      | longer    | –       | –
skip                                      | lost      | skipped   | in call | in call
skip, stale token                         | lost      | lost      | lost    | lost
release by the agent                      | lost      | released  | in call | released
release by a supervisor                   | none such | released  | in call | released
dispose                                   | lost      | undialled | in call | disposed
dispose, to retry                         | lost      | undialled | in call | disposed
dispose, not one of the campaign's        | lost      | wrong     | wrong   | wrong
cancel the contact                        | cancelled | let go    | busy    | busy
its time is up                            | –         | expired   | –       | –
a timer from before it was extended       | –         | –         | –       | –
"""


def test_every_command_in_every_phase_has_its_answer() -> None:
    """OM-07 OM-08 OM-15 EX-06: only an offered contact lapses, is skipped or extended; a live call keeps it."""
    compare(table(RESERVATION, WORDS), reservation_cells())


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", reservation_messages())
def test_deciding_changes_nothing_by_itself(name: str, phase: str) -> None:
    book, claims = book_with(phase)
    before, message = book.canonical(), reservation_messages()[name]
    try:
        if isinstance(message, ReservationDue):
            delivery.lapse(book, message)
        else:
            preview.decide(book, message, claims)
    except Refused:
        pass
    assert book.canonical() == before
