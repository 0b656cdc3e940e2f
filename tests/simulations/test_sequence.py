"""Random orders of commands at the production engine in virtual time: a share of `python -m simulations sequences`.

And bugs that are planted, to see that the line of each is named: a judge who finds nothing would prove nothing.
"""

import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engine.core import campaign as campaigns
from engine.core import directory as directories
from engine.core import process
from engine.core.agent import AgentWithdrawn
from engine.core.book import Book
from engine.core.call import HangupRequested
from engine.core.campaign import (
    CampaignDeleted,
    CampaignStarting,
    CampaignStopping,
    Completed,
    Create,
    Delete,
    Modify,
    Start,
    Status,
    Stop,
)
from engine.core.claims import Claims
from engine.core.directory import Directory, UseCampaignRef, UseContactRefs
from engine.core.message import Dial, Withdraw
from engine.core.outcome import Party
from eventstore.keys import Keys
from simulations.sequence.click import Kind, drawn
from simulations.sequence.command import Tally, fewer
from simulations.sequence.order import judged

COUNT = int(os.environ.get("RINGFOLD_SEQUENCES", "150"))
LENGTH = 35
MET_AT_LEAST = 100
"""Sequences among which every click is met, and every answer that a click is meant to meet."""
PLANTED_WITHIN = 120
"""Sequences in which a planted bug is found."""


def test_every_answer_and_notification_keeps_its_promise_in_whatever_order(
    record_property: Callable[[str, object], None],
) -> None:
    """TF-01 TF-02 TF-03 TF-07 TF-08 TF-09 TF-10 TF-11 TF-12 TF-13 TF-14 TF-15 TF-16 TF-17 TF-19 TF-20 TF-22 TF-24 TF-25 TF-27
    TF-31 TF-35 TF-37 TF-38: each has a law or a judge of its own, and those that could be broken without another are planted
    below.
    """
    tally = Tally()
    for seed in range(1, COUNT + 1):
        verdict = judged(drawn(seed, LENGTH), seed)
        assert verdict.faults == [], seed
        tally.add(verdict)
    record_property("random orders of commands in virtual time", tally.closing_line())
    if COUNT >= MET_AT_LEAST:
        for kind in set(Kind) - {Kind.WAIT, Kind.KILL, Kind.CUT, Kind.EDIT_TWICE}:
            assert any(name.startswith(f"{kind}: ") for name in tally.met), kind
        for met in (
            "create: campaign-ref-used",
            "start: campaign-stopping",
            "stop: campaign-not-started",
            "delete: campaign-not-stopped",
            "edit what was edited since: revision-mismatch",
            "available: agent-active-elsewhere",
            "dial what was let go: reservation-lost",
            "dial: taken",
            "click to call: taken",
        ):
            assert tally.met.get(met), met
        assert tally.calls > COUNT / 2
        assert tally.states["stopped"] >= 2 * COUNT


# -- planted bugs -----------------------------------------------------------------------------------------------------

DECIDE, STEP = campaigns.decide, process._decide
Bug = Callable[[pytest.MonkeyPatch], None]


def lifecycle(wrong: Callable[[Any, Any], Any]) -> Bug:
    """`wrong` says what the campaign decides instead; None where it does as ever."""

    def decide(state: Any, message: Any) -> Any:
        instead = wrong(state, message)
        return DECIDE(state, message) if instead is None else instead

    return lambda patch: patch.setattr(campaigns, "decide", decide)


def again(state: Any, message: Any) -> Any:
    if isinstance(message, Start) and state.status is Status.RUNNING:
        return (CampaignStarting(at=message.at, by=message.by),)
    return None


def deaf_while_stopping(state: Any, message: Any) -> Any:
    return () if isinstance(message, Start) and state.status is Status.STOPPING else None


def deletes_what_runs(state: Any, message: Any) -> Any:
    if isinstance(message, Delete) and state.status is Status.RUNNING:
        return (CampaignDeleted(at=message.at, by=message.by),)
    return None


def never_late(state: Any, message: Any) -> Any:
    if isinstance(message, Modify) and message.if_revision is not None:
        return DECIDE(state, msgspec.structs.replace(message, if_revision=None))
    return None


def wrong_old_name(state: Any, message: Any) -> Any:
    if not isinstance(message, Modify):
        return None
    return tuple(
        msgspec.structs.replace(one, old="") if isinstance(one, campaigns.CampaignRenamed) else one
        for one in DECIDE(state, message)
    )


def completed_too_early(patch: pytest.MonkeyPatch) -> None:
    def decide(book: Book, message: Any, *more: Any) -> Any:
        done = STEP(book, message, *more)
        if isinstance(message, Dial) and book.campaign.status is Status.RUNNING:
            events = [*done.events, *DECIDE(book.campaign, Completed(at=message.at))]
            return process.Step(events, done.effects, done.reply)
        return done

    patch.setattr(process, "_decide", decide)


def hangs_up_whom_it_withdraws(patch: pytest.MonkeyPatch) -> None:
    def decide(book: Book, message: Any, *more: Any) -> Any:
        done = STEP(book, message, *more)
        if isinstance(message, Withdraw) and any(isinstance(one, AgentWithdrawn) for one in done.events):
            ends = [
                HangupRequested(at=message.at, call=call, party=Party.DIALER, by=message.by)
                for call in book.live
                if book.calls[call].agent == message.agent and book.calls[call].hung_up_by is None
            ]
            return process.Step([*done.events, *ends], done.effects, done.reply)
        return done

    patch.setattr(process, "_decide", decide)


def stops_again(state: Any, message: Any) -> Any:
    if isinstance(message, Stop) and state.status is Status.STOPPED:
        return (CampaignStopping(at=message.at, by=message.by, reason="requested"),)
    return None


def made_again(state: Any, message: Any) -> Any:
    if isinstance(message, Create) and state.status is Status.DELETED:
        return DECIDE(campaigns.Campaign(), message)
    return None


def used_again(patch: pytest.MonkeyPatch) -> None:
    lifecycle(made_again)(patch)
    decide = directories.decide

    def forgetful(state: Directory, command: Any) -> Any:
        if isinstance(command, UseCampaignRef):
            state.campaigns.pop(command.ref, None)
        return decide(state, command)

    patch.setattr(directories, "decide", forgetful)


def nobodys_refs(patch: pytest.MonkeyPatch) -> None:
    decide = directories.decide

    def forgetful(state: Directory, command: Any) -> Any:
        events, reply = decide(state, command)
        return events, {} if isinstance(command, UseContactRefs) else reply

    def anywhere(self: Keys, _log: str, subject: str) -> bytes | None:
        found = [
            self._unsaved.get(subject),
            *(one.get(subject) for kind in self._tables.values() for one in kind.values()),
        ]
        return next((key for key in found if key is not None and subject not in self._erased), None)

    patch.setattr(directories, "decide", forgetful)
    # Keys rest on this line too: what the second campaign seals couldn't be read at all.
    patch.setattr(Keys, "_elsewhere", anywhere)


PLANTED: dict[str, tuple[str, Bug]] = {
    "a start that is repeated begins again": ("TF-08", lifecycle(again)),
    "a stop that is repeated stops again": ("TF-09", lifecycle(stops_again)),
    "a start while stopping is lost in silence": ("TF-10", lifecycle(deaf_while_stopping)),
    "what runs is deleted": ("TF-15", lifecycle(deletes_what_runs)),
    "nobody is too late for an edit": ("TF-19", lifecycle(never_late)),
    "an edit tells another name than it was": ("TF-17", lifecycle(wrong_old_name)),
    "it is completed while contacts are open": ("TF-14", completed_too_early),
    "who is withdrawn is cut off": ("TF-20", hangs_up_whom_it_withdraws),
    "an agent is at work in two campaigns": (
        "TF-24",
        lambda patch: patch.setattr(Claims, "elsewhere", lambda *_: None),
    ),
    "a ref is used again": ("TF-02", used_again),
    "a contact is in two campaigns": ("TF-03", nobodys_refs),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_bug_is_found_and_its_line_is_named(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line, bug = PLANTED[planted]
    bug(monkeypatch)
    for seed in range(1, PLANTED_WITHIN):
        found = judged(drawn(seed, LENGTH), seed).faults
        if any(line in one.partition(":")[0].split() for one in found):
            return
    pytest.fail(f"{line}: not found")


def test_a_sequence_that_fails_is_told_in_the_fewest_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    lifecycle(deletes_what_runs)(monkeypatch)
    seed = next(one for one in range(1, PLANTED_WITHIN) if judged(drawn(one, LENGTH), one).faults)
    clicks = drawn(seed, LENGTH)

    # when
    few, faults = fewer(clicks, judged(clicks, seed))

    # then
    kinds = [one.kind for one in few]
    assert len(kinds) <= 4, kinds
    assert {Kind.CREATE, Kind.START, Kind.DELETE} <= {*kinds, Kind.CREATE}
    assert any(one.startswith("TF-15") for one in faults)


def test_a_sequence_is_the_same_each_time() -> None:
    first, second = (msgspec.structs.replace(judged(drawn(7, LENGTH), 7), cpu_s=0) for _ in range(2))
    assert first == second
    assert first.notifications > 0
    assert drawn(7, LENGTH) != drawn(8, LENGTH)
