"""An agent's phone: every observation of its leg in every state; and what an agent is said to be doing."""

import msgspec
import pytest

from engine.core.agent import Agent, AgentStatus, Phone, Presence, Wanted, decide, evolve, status_of
from engine.core.reservation import Phase, Reservation
from simulations.states import agent_with, observations, phone_cells
from tests.engine.core.truth import compare, table

WORDS = {"up": "agent.phone_up"} | {
    word: f"agent.phone_down ({reason})"
    for word, reason in {
        "busy": "phone-busy",
        "cancelled": "phone-cancelled",
        "they hung up": "phone-hung-up",
        "lost": "phone-lost",
        "unreachable": "phone-unreachable",
        "closed": "hung-up-by-dialer",
        "pbx down": "pbx-down",
        "restarted": "pbx-restarted",
    }.items()
}
WORDS |= {f"ask {why}": f"agent.phone_doubted ({why})" for why in ("originate_failed", "silence", "reconnected")}

PHONE = """
                                 down calling up closing
created                         | – | –                    | –               | –
ringing                         | – | –                    | –               | –
answered                        | – | –                    | –               | –
ready                           | – | up                   | –               | –
bridged                         | – | –                    | –               | –
bridge refused                  | – | –                    | –               | –
recorded                        | – | –                    | –               | –
recording refused               | – | –                    | –               | –
ended unanswered, busy (17)     | – | busy                 | busy            | closed
ended unanswered, normal (16)   | – | cancelled            | cancelled       | closed
ended answered, by the far end  | – | they hung up         | they hung up    | closed
ended answered, by our side     | – | lost                 | lost            | closed
originate rejected              | – | pbx down             | pbx down        | pbx down
originate failed                | – | ask originate_failed | –               | ask originate_failed
absent                          | – | unreachable          | lost            | lost
seen, down                      | – | –                    | –               | –
seen, ringing                   | – | –                    | –               | –
seen, up                        | – | –                    | –               | –
seen, waiting in our dialplan   | – | up                   | –               | –
seen, bridged                   | – | up                   | –               | –
silence                         | – | ask silence          | –               | ask silence
not listed after a reconnect    | – | ask reconnected      | ask reconnected | ask reconnected
not listed, the PBX restarted   | – | ask reconnected      | restarted       | restarted
"""


def test_every_observation_in_every_state_of_the_phone_has_its_answer() -> None:
    compare(table(PHONE, WORDS), phone_cells())


@pytest.mark.parametrize("phone", Phone)
@pytest.mark.parametrize("name", observations())
def test_an_observation_changes_nothing_by_itself_and_one_of_another_leg_says_nothing(name: str, phone: Phone) -> None:
    agent = agent_with(phone)
    before = msgspec.msgpack.encode(agent)

    events = decide(agent, observations()[name])

    assert msgspec.msgpack.encode(agent) == before
    assert decide(agent, observations("f" * 32)[name]) == ()
    for event in events:
        agent = evolve(agent, event)
    if agent.phone in (Phone.UP, Phone.DOWN):  # a doubt may be told again: it only asks the PBX once more
        assert decide(agent, observations()[name]) == ()


@pytest.mark.parametrize(
    ("presence", "wanted", "phase", "status"),
    [
        (Presence.ABSENT, Wanted.OFFLINE, None, AgentStatus.OFFLINE),
        (Presence.ABSENT, Wanted.OFFLINE, Phase.WRAPUP, AgentStatus.OFFLINE),
        (Presence.ARRIVING, Wanted.AVAILABLE, None, AgentStatus.LOGGING_IN),
        (Presence.PRESENT, Wanted.AVAILABLE, None, AgentStatus.AVAILABLE),
        (Presence.PRESENT, Wanted.PAUSED, None, AgentStatus.PAUSED),
        (Presence.PRESENT, Wanted.AVAILABLE, Phase.OFFERED, AgentStatus.PREVIEWING),
        (Presence.PRESENT, Wanted.PAUSED, Phase.DIALING, AgentStatus.BUSY),
        (Presence.PRESENT, Wanted.OFFLINE, Phase.WRAPUP, AgentStatus.WRAPUP),
        (Presence.LEAVING, Wanted.OFFLINE, Phase.WRAPUP, AgentStatus.LOGGING_OUT),
    ],
)
def test_TF_23_what_an_agent_is_doing_follows_from_facts(
    presence: Presence, wanted: Wanted, phase: Phase | None, status: AgentStatus
) -> None:
    agent = Agent(id="a1", phone_name="desk1", presence=presence, wanted=wanted)
    held = (
        Reservation(id="r1", token="t1", contact="k1", agent="a1", at=0, expires_at=0, phase=phase) if phase else None
    )
    assert status_of(agent, held) is status
