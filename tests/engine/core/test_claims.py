"""What campaigns claim of each other: let go whole, taken up again the same, and lists that a disposition names."""

from copy import deepcopy
from typing import Any

import pytest

from engine.core.call import CallRequested
from engine.core.claims import Claims
from engine.core.recent import Recent
from engine.core.standing import EVERYWHERE, Standing, list_of
from tests.engine.core.test_gate import dialled, forbidden, holding

HELD = ("numbers", "agents", "busy", "legs", "in_setup", "on_trunk", "_lines")


def held(claims: Claims) -> dict[str, Any]:
    return {name: deepcopy(getattr(claims, name)) for name in HELD}


def test_EX_02_a_campaign_that_is_read_again_lets_go_of_its_own_and_takes_up_the_same() -> None:
    claims = Claims(max_calls_in_setup=50, trunks={"carrier": 3})
    one, other = holding("+15551", claims=claims), holding("+15552", claims=claims, ref="c2")
    before = held(claims)
    dialled(other)
    without = held(claims)
    dialled(one)
    both = held(claims)
    assert before != without != both

    claims.forget(one.book)

    let_go = held(claims)
    for name in ("numbers", "busy", "in_setup", "on_trunk", "_lines"):
        assert let_go[name] == without[name], name
    assert "a-c1" not in let_go["agents"]
    assert let_go["agents"]["a-c2"] == both["agents"]["a-c2"]
    assert set(let_go["legs"].values()) == {"c2"}
    claims.adopt(one.book)
    assert held(claims) == both


def test_EX_02_a_call_that_ended_leaves_nothing_behind() -> None:
    claims = Claims(max_calls_in_setup=50, trunks={"carrier": 1})
    talk = holding("+15551", claims=claims)
    before = held(claims)
    talk.failing("a-c1")
    after = held(claims)
    for name in ("numbers", "busy", "in_setup", "on_trunk", "_lines"):
        assert after[name] == before[name] == {}, name
    assert talk.claims.has_line("carrier")


@pytest.mark.parametrize(("choice", "binds_the_other"), [("campaign", False), (EVERYWHERE, True)])
def test_OM_06_a_number_that_a_disposition_lists_is_forbidden_at_once_in_what_it_names(
    choice: str, binds_the_other: bool
) -> None:
    """Given a number of two campaigns, when one closes its contact with a do-not-call disposition."""
    claims = Claims(max_calls_in_setup=50)
    settings: Any = {"dispositions": [{"code": "stop", "label": "Never again", "dnc": choice}]}
    one, other = holding("+15551", claims=claims, **settings), holding("15551", claims=claims, ref="c2")
    one.dispose("a-c1", "stop")
    standing = claims.standing
    assert standing.listed("+15551", "c1", one.at) is not None
    assert (standing.listed("+15551", "c2", other.at) is not None) == binds_the_other
    if binds_the_other:
        assert forbidden(other) == "dnc"
    else:
        assert dialled(other)


def test_what_has_arrived_on_a_list_is_on_its_way_no_more() -> None:
    standing, name = Standing(), list_of("c1")
    for contact in ("k1", "k2"):
        standing.announce(name, contact, ["+15551"])
    standing.arrived(name, "k1", ["+15551"])
    assert standing.listed("+15551", "c1", 0) == (name, 0), "the other's is still to come"
    standing.arrived(name, "k2", ["15551"])
    assert standing.listed("+15551", "c1", 0) is None
    standing.arrived(name, "k3", ["+15559"])
    assert standing._coming == {}


def test_an_attempt_two_days_old_is_forgotten_with_the_next() -> None:
    recent, day_ms = Recent(), 86_400_000
    recent.add("15551", 1)
    recent.add("15551", 1 + 2 * day_ms)
    assert len(recent.times("15551")) == 1
    recent.add("15551", 2 * day_ms + 2)
    assert len(recent.times("15551")) == 2


def test_a_request_that_the_gate_forbids_takes_no_line() -> None:
    claims = Claims(max_calls_in_setup=50, trunks={"carrier": 1})
    talk = holding("+15551", claims=claims, windows=[{"days": ["sun"], "start": "09:00", "end": "10:00"}])
    talk.offsets = (0,)
    assert forbidden(talk) == "window"
    assert claims.has_line("carrier")
    assert talk.last.none(CallRequested)
