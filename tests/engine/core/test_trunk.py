"""SG-02, SG-20: which trunk an attempt goes out over, and why."""

import pytest

from engine.core.agent import Line
from engine.core.call import CallRequested
from engine.core.claims import Claims
from engine.core.refusal import Refused
from engine.core.telephony import OriginateContact
from tests.engine.conversation import Conversation

FAR = {f"k{one}": [f"555{one}"] for one in range(1, 6)}
BUSY, NO_ANSWER, OUT_OF_ORDER, CONGESTION = 17, 19, 27, 34


def requested(talk: Conversation, agent: str) -> tuple[str, str]:
    said = talk.dial(agent)
    assert said.one(OriginateContact).trunk == said.one(CallRequested).trunk  # what is written is what is dialled
    return said.one(CallRequested).trunk, said.one(CallRequested).trunk_reason


def dialling(claims: Claims, *agents: str, ref: str = "c1", **settings: object) -> Conversation:
    """Given a running campaign whose agents each have a contact in hand."""
    talk = Conversation(ref, claims, **settings)
    talk.running(*agents, contacts={f"{ref}-{name}": [f"{numbers[0]}{ref[-1]}"] for name, numbers in FAR.items()})
    for agent in agents:
        talk.next(agent)
    return talk


def test_SG_02_a_call_takes_the_first_trunk_that_has_a_free_line() -> None:
    claims = Claims(50, {"one": 1, "two": 1, "three": 0})
    talk = dialling(claims, "a", "b", "c", trunk="one", further_trunks=["two"])
    assert requested(talk, "a") == ("one", "preferred")
    assert requested(talk, "b") == ("two", "others_full")
    assert talk.refused(talk.dial_message("c")) == "trunk-lines-in-use"
    talk.ended(talk.call_of("a"), cause=BUSY)
    assert requested(talk, "c") == ("one", "preferred")


@pytest.mark.parametrize("crashes", [False, True])
def test_SG_02_lines_of_a_trunk_are_counted_over_all_campaigns_and_after_a_crash(crashes: bool) -> None:
    claims = Claims(50, {"one": 1, "two": 0})
    spring = dialling(claims, "a", trunk="one", further_trunks=["two"])
    autumn = dialling(claims, "z", ref="c2", trunk="one", further_trunks=["two"])
    requested(spring, "a")
    if crashes:
        spring.crash()
        spring.claims.adopt(autumn.book)
        autumn.claims = spring.claims
        assert spring.claims.on_trunk == claims.on_trunk
    assert requested(autumn, "z") == ("two", "others_full")


@pytest.mark.parametrize(
    ("cause", "then"),
    [
        (CONGESTION, ("two", "after_failure")),
        (OUT_OF_ORDER, ("two", "after_failure")),
        (BUSY, ("one", "preferred")),
        (NO_ANSWER, ("one", "preferred")),
        (20, ("one", "preferred")),  # the subscriber is absent: the callee's side
    ],
)
def test_SG_02_after_a_failure_of_the_carrier_the_next_attempt_takes_the_next_trunk(
    cause: int, then: tuple[str, str]
) -> None:
    talk = dialling(Claims(50), "a", trunk="one", further_trunks=["two"])
    talk.failing("a", cause)
    assert requested(talk, "a") == then
    assert talk.book.calls[talk.call_of("a")].trunk_reason == then[1]


def test_SG_02_behind_the_last_trunk_comes_the_first_again() -> None:
    talk = dialling(Claims(50), "a", trunk="one", further_trunks=["two"])
    talk.failing("a", CONGESTION)
    talk.failing("a", CONGESTION)
    assert requested(talk, "a") == ("one", "after_failure")


def test_SG_02_a_trunk_to_which_the_pbx_has_no_way_failed_too() -> None:
    talk = dialling(Claims(50), "a", trunk="one", further_trunks=["two"])
    talk.dial("a")
    call = talk.call_of("a")
    talk.originate_failed(call)
    talk.absent(call)
    assert requested(talk, "a") == ("two", "after_failure")


def test_SG_02_a_full_trunk_behind_the_one_that_failed_is_passed_over() -> None:
    talk = dialling(Claims(50, {"one": 1, "two": 1}), "a", "b", trunk="one", further_trunks=["two"])
    talk.failing("a", CONGESTION)
    talk.edit(trunk="two", further_trunks=["one"])
    assert requested(talk, "b") == ("two", "preferred")
    talk.edit(trunk="one", further_trunks=["two"])
    assert requested(talk, "a") == ("one", "others_full")


def test_SG_20_own_trunks_only_flipped_live_lets_others_help_out_when_the_own_are_full() -> None:
    talk = dialling(Claims(50, {"one": 1, "spare": 1}), "a", "b", "c", trunk="one")
    requested(talk, "a")
    assert talk.refused(talk.dial_message("b")) == "trunk-lines-in-use"
    talk.edit(own_trunks_only=False)
    assert requested(talk, "b") == ("spare", "lent")
    assert talk.refused(talk.dial_message("c")) == "trunk-lines-in-use"
    talk.ended(talk.call_of("b"), cause=BUSY)
    talk.edit(own_trunks_only=True)
    assert talk.refused(talk.dial_message("b")) == "trunk-lines-in-use"


def test_SG_02_the_line_is_taken_while_an_on_demand_agents_phone_still_rings() -> None:
    claims = Claims(50, {"one": 1})
    talk = Conversation("c1", claims, trunk="one")
    talk.running("a", "b", line=Line.ON_DEMAND)
    for agent in ("a", "b"):
        talk.next(agent)
    awaiting = talk.dial("a").events[0]
    assert (awaiting.trunk, awaiting.trunk_reason) == ("one", "preferred")
    assert talk.refused(talk.dial_message("b")) == "trunk-lines-in-use"
    assert talk.phone_ready("a").one(CallRequested).trunk_reason == "preferred"


@pytest.mark.parametrize("further", [["one"], ["two", "two"]])
def test_SG_02_a_trunk_stands_once(further: list[str]) -> None:
    talk = Conversation("c1", trunk="one")
    with pytest.raises(Refused, match="twice") as refused:
        talk.edit(further_trunks=further)
    assert refused.value.field == "settings.further_trunks"
