"""Scenarios: what happens in a world, as a TOML file. A key that is unknown or out of bounds is an error that names it."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from adapters.zones import is_zone
from simulations.world.shift import read_shift

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
PerHour = Annotated[float, msgspec.Meta(ge=0, le=3_600)]
Hour = Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3])$")]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3_600)]


class Agents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    count: Annotated[int, msgspec.Meta(ge=1, le=500)] = 5
    preview_s: Seconds = 10
    """How long an agent looks at a contact before dialling, on average; so too below."""
    wrapup_s: Seconds = 15
    skips: Share = 0.05
    pauses: Share = 0.02
    """How often an agent takes a break after a contact."""
    pause_s: Seconds = 300
    callbacks: Share = 0
    """How often an agent closes a contact by promising to call back, or that somebody will."""
    callback_s: Seconds = 600
    """In how long, on average: by the contact's clock, and to the minute."""
    on_demand: Share = 0
    """How many have a phone that rings for each call; the others' stay on the line."""
    unreachable: Share = 0
    """How often such a phone isn't answered."""
    shifts: tuple[str, ...] = ()
    """Given to the agents in turn: `08:00-12:00 13:00-17:00`, where 08:00 is when the world begins. None: always there."""


class Callees(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    answer: Share = 0.35
    answer_by_hour: dict[Hour, Share] = {}
    """Instead of `answer`, in the hours of the day that are given: `"09" = 0.2`."""
    busy: Share = 0.15
    invalid: Share = 0.05
    """Whoever is left over doesn't answer."""
    ring_s: tuple[Seconds, Seconds, Seconds] = (1.5, 6, 25)
    """The shortest, the most frequent and the longest time to an answer, or to giving up."""
    talk_s: Seconds = 60


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the campaign sets to whom it calls, when and how much."""

    lines: Annotated[int, msgspec.Meta(ge=0, le=500)] = 0
    """Calls at a time. 0: as many as agents."""
    in_setup: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    """Calls not answered yet, at a time."""
    per_contact: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 4
    """Attempts on a contact. 0: no limit, here and below."""
    per_number_a_day: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0
    window: Annotated[str, msgspec.Meta(pattern="^(([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9])?$")] = (
        ""
    )
    """When calls may be made, by the callee's clock: `09:00-17:00`. Empty: at any time."""
    zones: tuple[str, ...] = ("UTC",)
    """Given to the contacts in turn."""
    retry_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    """When a contact comes back that was busy."""
    shared_numbers: Share = 0
    """How many contacts have the number of the one before them."""
    clicks: PerHour = 0
    """How often somebody clicks to call in another system, on any contact or on what an agent has in hand."""
    listed: PerHour = 0
    """How many numbers of contacts a CRM puts on a do-not-call list while calls are made."""
    linked: bool = False
    """Whether the campaigns are of one link group: agents whose phones ring for each call work for all of them."""
    crm: Literal["", "server", "disposition"] = ""
    """The campaigns' trigger for telling a CRM by its address. Empty: they name none."""


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often each strikes, per hour, at random moments. simulations/world/fault.py says what each does."""

    crashes: PerHour = 0
    """The engine is killed at any step of any of its tasks, and started again over the same logs; so too the next two."""
    crashes_at_commit: PerHour = 0
    crashes_at_effect: PerHour = 0
    freezes: PerHour = 0
    """The engine stands still while another starts, and wakes up believing that nothing has happened."""
    clock_steps: PerHour = 0
    broken_appends: PerHour = 0
    """The store's connection breaks before a commit or after it."""
    store_outages: PerHour = 0
    slow_stores: PerHour = 0
    cuts: PerHour = 0
    """The connection to the PBX breaks."""
    cut_originates: PerHour = 0
    """It breaks at the next Originate: before or after the response, dialled or not."""
    half_open: PerHour = 0
    """It is dead, and nobody says so."""
    deaf_spells: PerHour = 0
    outages: PerHour = 0
    """The PBX can't be reached for a while, and calls end meanwhile."""
    pbx_restarts: PerHour = 0
    failure_storms: PerHour = 0
    vanishing_agents: PerHour = 0
    receiver_troubles: PerHour = 0


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    hours: Annotated[float, msgspec.Meta(gt=0, le=48)] = 1
    contacts: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 200
    campaigns: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1
    """Agents and contacts are dealt to them in turn."""
    receiver_gone_h: Annotated[float, msgspec.Meta(ge=0, le=48)] = 0
    """From a tenth of an hour after the beginning on, nobody answers for so long where notifications go."""
    receiver_batch: Annotated[int, msgspec.Meta(ge=0, le=200)] = 0
    """How many notifications are taken there at once, as an endpoint's `batch` asks for. 0: each in a request of its own."""
    agents: Agents = Agents()
    callees: Callees = Callees()
    rules: Rules = Rules()
    faults: Faults = Faults()


def read_scenario(path: Path) -> Scenario:
    """Raises msgspec.ValidationError, which names the key; OSError."""
    scenario = msgspec.toml.decode(path.read_bytes(), type=Scenario)
    callees = scenario.callees
    if max(callees.answer, *callees.answer_by_hour.values(), 0) + callees.busy + callees.invalid > 1:
        raise msgspec.ValidationError("answer, busy and invalid are more than 1 together - at `$.callees`")
    if list(callees.ring_s) != sorted(callees.ring_s):
        raise msgspec.ValidationError("shortest, usual, longest: in this order - at `$.callees.ring_s`")
    if scenario.agents.count < scenario.campaigns:
        raise msgspec.ValidationError("one for each campaign at least - at `$.agents.count`")
    start, _, end = scenario.rules.window.partition("-")
    if end and start >= end:
        raise msgspec.ValidationError(f"{end} isn't after {start} - at `$.rules.window`")
    for place, zone in enumerate(scenario.rules.zones):
        if not is_zone(zone):
            raise msgspec.ValidationError(f"{zone!r} is no time zone - at `$.rules.zones[{place}]`")
    if not scenario.rules.zones:
        raise msgspec.ValidationError("one at least - at `$.rules.zones`")
    for place, text in enumerate(scenario.agents.shifts):
        try:
            read_shift(text)
        except ValueError as error:
            raise msgspec.ValidationError(f"{error} - at `$.agents.shifts[{place}]`") from None
    return scenario
