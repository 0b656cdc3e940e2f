"""A campaign's lifecycle: every message in every status."""

from typing import Any

import msgspec
import pytest

from engine.core.campaign import (
    Campaign,
    Disposition,
    Modify,
    Settings,
    SettingsChanged,
    Status,
    decide,
    evolve,
    patched,
)
from engine.core.refusal import Fault, Refused
from simulations.states import AT, answer, campaign_cells, campaign_in, campaign_messages
from tests.engine.core.truth import compare, table

WORDS = {
    "unknown": "refused: unknown-campaign",
    "used": "refused: campaign-ref-used",
    "deleted": "refused: campaign-deleted",
    "never ran": "refused: campaign-not-started",
    "not stopped": "refused: campaign-not-stopped",
    "is stopping": "refused: campaign-stopping",
    "too late": "refused: revision-mismatch",
    "made": "campaign.created",
    "renamed": "campaign.renamed",
    "edited": "campaign.settings_changed",
    "starting": "campaign.starting",
    "running": "campaign.running",
    "stopping": "campaign.stopping",
    "stopped": "campaign.stopped",
    "forced": "campaign.stop_forced",
    "both": "campaign.stopping, campaign.stop_forced",
    "gone": "campaign.deleted",
}
LIFECYCLE = """
                       absent    created     starting      running       stopping      stopped    deleted
create, same body   |  made    | –         | –           | –           | –           | –        | used
create, other body  |  made    | used      | used        | used        | used        | used     | used
rename              |  unknown | renamed   | renamed     | renamed     | renamed     | renamed  | deleted
edit settings       |  unknown | edited    | edited      | edited      | edited      | edited   | deleted
edit, nothing new   |  unknown | –         | –           | –           | –           | –        | deleted
edit, old revision  |  unknown | too late  | too late    | too late    | too late    | too late | deleted
start               |  unknown | starting  | –           | –           | is stopping | starting | deleted
stop                |  unknown | never ran | stopping    | stopping    | –           | –        | deleted
stop by force       |  unknown | never ran | both        | both        | forced      | –        | deleted
delete              |  unknown | gone      | not stopped | not stopped | not stopped | gone     | –
clean, long after it ran                    | – | – | – | – | – | gone | –
clean, soon after it ran                    | – | – | – | – | – | – | –
fact: agents are there or known not to come | – | – | running | – | – | – | –
fact: every contact is final                | – | – | – | stopping | – | – | –
fact: no live call, no agent                | – | – | – | – | stopped | – | –
"""


def test_every_message_in_every_status_has_its_answer() -> None:
    """TF-07 TF-08 TF-09 TF-10 TF-15 TF-32: one table of all transitions; repeats say nothing, the rest is refused."""
    compare(table(LIFECYCLE, WORDS), campaign_cells())


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("name", campaign_messages())
def test_a_message_taken_twice_says_nothing_the_second_time(name: str, status: Status) -> None:
    state, message = campaign_in(status), campaign_messages()[name]
    before = msgspec.msgpack.encode(state)

    try:
        events = decide(state, message)
    except Refused:
        return
    assert msgspec.msgpack.encode(state) == before  # deciding changes nothing
    for event in events:
        state = evolve(state, event)

    if not (isinstance(message, Modify) and message.if_revision is not None):
        assert answer(decide, state, message) == "–"


@pytest.mark.parametrize("status", Status)
def test_a_stop_that_was_forced_is_not_forced_again(status: Status) -> None:
    force = campaign_messages()["stop by force"]
    if status is Status.STOPPING:
        assert answer(decide, campaign_in(status, forced=True), force) == "–"


def test_TF_17_an_edit_names_the_changed_settings_their_old_and_new_values_and_who() -> None:
    edit = Modify(at=AT, by="maria", settings={"max_lines": 7, "trunk": "carrier"})

    assert decide(campaign_in(Status.RUNNING), edit) == (
        SettingsChanged(at=AT, old={"max_lines": 1_000}, new={"max_lines": 7}, by="maria"),
    )


def test_TF_18_an_edit_touches_nothing_but_name_settings_and_revision() -> None:
    state = campaign_in(Status.RUNNING)
    after = evolve(state, SettingsChanged(at=AT, old={"max_lines": 1_000}, new={"max_lines": 7}, by="m"))

    assert after == msgspec.structs.replace(
        state, settings=msgspec.structs.replace(state.settings, max_lines=7), revision=state.revision + 1
    )


def test_null_in_a_patch_puts_the_default_back() -> None:
    assert patched(Settings(max_lines=7, trunk="other"), {"max_lines": None}) == Settings(trunk="other")


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"speed": 3}, "settings.speed"),
        ({"max_lines": 0}, "settings.max_lines"),
        ({"max_lines": "7"}, "settings.max_lines"),
        ({"caller_id": "12,34"}, "settings.caller_id"),
        ({"dispositions": []}, "settings.dispositions"),
        ({"dispositions": [{"code": "a b"}]}, "settings.dispositions[0].code"),
        ({"dispositions": [{"code": "a", "colour": "red"}]}, "settings.dispositions[0]"),
        ({"dispositions": [{"code": "a"}, {"code": "a"}]}, "settings.dispositions"),
    ],
)
def test_TF_17_a_wrong_setting_is_refused_by_name(patch: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        patched(Settings(), patch)
    assert (refused.value.fault, refused.value.field) == (Fault.INVALID, field)


def test_starting_again_forgets_why_and_how_it_stopped() -> None:
    stopped = Campaign(ref="c1", status=Status.STOPPED, stop_reason="completed", forced=True)
    (starting,) = decide(stopped, campaign_messages()["start"])

    again = evolve(stopped, starting)

    assert (again.status, again.stop_reason, again.forced) == (Status.STARTING, "", False)


def test_a_disposition_is_found_by_its_code() -> None:
    settings = Settings(dispositions=(Disposition(code="yes"), Disposition(code="no")))
    assert settings.disposition("no") == Disposition(code="no")
    assert settings.disposition("perhaps") is None
