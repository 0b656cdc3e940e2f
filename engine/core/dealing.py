"""Splitting a campaign's contacts over its agents, a step at a time.

Each step moves some contacts towards the fair shares: those that are nobody's, those of agents who left, and the last in
line of agents who have more than theirs. When nothing is left to move there is no event, and no further
step. A contact in somebody's hand, a personal callback and one assigned from outside are never moved.
"""

from collections.abc import Callable

from engine.core.book import Book
from engine.core.campaign import Preassignment, Status
from engine.core.contact import FREE, ContactsAssigned
from engine.core.preassign import dealt, shares, shuffled

STEP_CONTACTS = 250
"""As many as change hands within some milliseconds: claims come in between."""
SEED_DIGITS = 12
"""Hexadecimal digits of an id that make a seed: below 2**53, exact in every JSON reader."""


def is_dealt(book: Book) -> bool:
    """Whether there is anything to split now: contacts are dealt from the start on, not while a list is being made."""
    return book.campaign.status in (Status.STARTING, Status.RUNNING)


def deal(book: Book, at: int, new_id: Callable[[], str]) -> list[ContactsAssigned]:
    """One step, or nothing."""
    settings = book.campaign.settings
    if not is_dealt(book):
        return []
    method = settings.preassignment
    split = method is not Preassignment.NONE
    weights = {one.id: one.weight for one in book.agents.values() if split and not one.withdrawn}
    counts = {owner: count for owner, count in book.contacts.dealt.items() if count}
    fair = shares(sum(counts.values()), weights)
    moved = _to_move(book, counts, fair)
    if not moved:
        return []
    if not weights:
        return [ContactsAssigned(at=at, method=method, seed=0, contacts={FREE: tuple(moved)})]
    missing = {agent: fair[agent] - counts.get(agent, 0) for agent in weights if fair[agent] > counts.get(agent, 0)}
    turns = dealt(missing)
    agents = [agent for _, agent in zip(moved, turns, strict=False)]
    seed = 0
    if method is Preassignment.RANDOM:
        seed = settings.preassignment_seed or int(new_id()[-SEED_DIGITS:], 16)
        agents = shuffled(agents, seed + book.contacts.by_ref[moved[0]].rank)
    contacts: dict[str, list[str]] = {agent: [] for agent in sorted(set(agents))}
    for ref, agent in zip(moved, agents, strict=False):
        contacts[agent].append(ref)
    return [
        ContactsAssigned(
            at=at, method=method, seed=seed, contacts={agent: tuple(refs) for agent, refs in contacts.items()}
        )
    ]


def _to_move(book: Book, counts: dict[str, int], fair: dict[str, int]) -> list[str]:
    """Refs that are to change hands, at most a step's: nobody's in order of arrival, then what others have too much of."""
    open_places = sum(max(0, share - counts.get(agent, 0)) for agent, share in fair.items())
    room = min(STEP_CONTACTS, open_places) if fair else STEP_CONTACTS
    moved: list[str] = []
    for owner in sorted(counts, key=lambda one: (one in fair, one)):  # "" first, then those who left, then the others
        if len(moved) >= room:
            break
        if not fair and owner == FREE:
            continue
        surplus = counts[owner] - fair.get(owner, 0)
        if surplus > 0:
            moved += book.contacts.movable(owner, min(surplus, room - len(moved)), newest=owner in fair)
    return moved
