"""A campaign's life.

    created ─► starting ─► running ─► stopping ─► stopped ─► deleted
       │          └──────────────────────▲           │
       │                                             ├─► starting again
       └─► deleted

A client asks for a state and is told of one: `Start` and `Stop` only open the transitional states, and what the agents'
phones and the live calls do closes them. Asking again for what already holds or is under way says nothing.
Everything that moves a campaign from one status to another is in this file.
"""

from enum import StrEnum
from typing import Annotated, Any, assert_never

import msgspec

from engine.core import interaction as interactions
from engine.core.form import MAX_FORM_FIELDS, Field, check_fields
from engine.core.interaction import MAX_TABS, Body, ExternalUrl, Interaction, Screen, Tab, Target, Url
from engine.core.outcome import Outcome
from engine.core.refusal import Fault, Refused, against_rule, invalid, stale

PLAIN = r"^(?!.*\$[{\[])[^\x00-\x1f\x7f]*$"
"""Text for people: anything but control characters and what a dialplan would evaluate."""
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=PLAIN)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$(?!\n)")]
Date = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$(?!\n)")]
Subject = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.@-]{1,64}$(?!\n)")]
"""Whom a token is for."""
MAX_TRUNKS = 20


DELAY_MAX_S = 30 * 86_400
Delay = Annotated[int, msgspec.Meta(ge=0, le=DELAY_MAX_S)]
Growth = Annotated[float, msgspec.Meta(ge=1, le=10)]
Times = Annotated[int, msgspec.Meta(ge=0, le=1_000)]
"""How often at most; 0 is no limit."""


class DncList(StrEnum):
    """Where the numbers of a contact go who is not to be called again."""

    NONE = ""
    CAMPAIGN = "campaign"
    GLOBAL = "global"


class Disposition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way an agent may close a contact.

    Not final: it comes back after `retry_after_s`, the next time after `retry_growth` as long, and so on; after
    `retry_at_most` times in a row it is final all the same. A `callback` comes back at the time that was agreed on.
    `parent` is the code of the one that it belongs under, `external_id` the CRM's own name for it.
    """

    code: Code
    label: Annotated[str, msgspec.Meta(max_length=200, pattern=PLAIN)] = ""
    parent: Annotated[str, msgspec.Meta(max_length=64)] = ""
    external_id: Annotated[str, msgspec.Meta(max_length=100, pattern=PLAIN)] = ""
    engaged: bool = False
    final: bool = True
    callback: bool = False
    dnc: DncList = DncList.NONE
    retry_after_s: Delay = 0
    retry_growth: Growth = 1.0
    retry_at_most: Times = 0


class RetryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a contact comes back whose last attempt ended so, and no agent disposed of it. Delays grow as above."""

    outcome: Outcome
    after_s: Delay
    growth: Growth = 1.0


class Day(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When calls may be made, by the callee's clock: from `start` until before `end`, on these days."""

    days: Annotated[tuple[Day, ...], msgspec.Meta(min_length=1, max_length=7)] = tuple(Day)
    start: Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)")] = "09:00"
    end: Annotated[str, msgspec.Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$(?!\n)")] = "20:00"


class Preassignment(StrEnum):
    """How contacts that nobody assigned from outside are split over the agents."""

    NONE = "none"
    PROPORTIONAL = "proportional"
    RANDOM = "random"


class Delivery(StrEnum):
    OWN_FIRST = "own_first"
    OWN_ONLY = "own_only"


class NumberStrategy(StrEnum):
    IN_ORDER = "in_order"
    ROUND_ROBIN = "round_robin"
    BEST = "best"


DEFAULT_DISPOSITIONS = (
    Disposition(code="engaged", label="Engaged", engaged=True),
    Disposition(code="not_interested", label="Not interested"),
    Disposition(code="wrong_person", label="Wrong person"),
    Disposition(code="no_contact", label="Not reached, give up"),
    Disposition(code="try_later", label="Not reached, try later", final=False, retry_after_s=3_600),
    Disposition(code="callback", label="Call back", final=False, callback=True),
)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be edited in any state but deleted; effective at the next decision.

    Logs hold old values: a limit may be widened here and a rule added to `patched`, but no limit tightened.
    """

    trunk: Code = "carrier"
    """The outgoing channel that calls take first. Each number goes out over a trunk that has a free line."""
    further_trunks: Annotated[tuple[Code, ...], msgspec.Meta(max_length=MAX_TRUNKS - 1)] = ()
    """Taken in this order where `trunk` has no free line, or let the contact's last attempt fail."""
    own_trunks_only: bool = True
    """Whether the campaign keeps to the trunks above; if not, any other of the service's helps out when they are full."""
    supervisors: Annotated[tuple[Subject, ...], msgspec.Meta(max_length=200)] = ()
    """Who supervises the campaign: subjects of supervisors' tokens that name no campaigns themselves."""
    caller_id: Annotated[str, msgspec.Meta(pattern=r"^(\+?[0-9]{2,20})?$(?!\n)")] = ""
    """The number that callees and agents see. Empty: the trunk's own."""
    default_region: Annotated[str, msgspec.Meta(pattern=r"^([A-Z]{2})?$(?!\n)")] = ""
    """The country whose national numbers contacts may have (`CO`): those added from now on are then stored in E.164, and a
    number that isn't valid, or can be read in two ways, is a row's error. A file may name another. Empty: digits as given."""
    reservation_timeout_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 120
    """How long an agent may look at a contact; every heartbeat starts it anew."""
    ring_timeout_s: Annotated[int, msgspec.Meta(ge=15, le=120)] = 30
    """How long a contact's phone rings."""
    agent_ring_timeout_s: Annotated[int, msgspec.Meta(ge=5, le=120)] = 20
    """How long an agent's phone rings."""
    max_lines: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    """Calls of the campaign at a time."""
    record: bool = False
    """Whether calls are recorded from their bridging on: those dialled from now on, not those under way."""
    agents_may_listen: bool = False
    """Whether agents may hear the recordings of their own calls."""
    # closing a contact
    dispositions: Annotated[tuple[Disposition, ...], msgspec.Meta(min_length=1, max_length=200)] = DEFAULT_DISPOSITIONS
    """How agents may close a contact: final or to come back, engaged or not, under one another as a tree."""
    dispose_without_attempt: bool = False
    """Whether a contact may be disposed of that was never dialled."""
    form: Annotated[tuple[Field, ...], msgspec.Meta(max_length=MAX_FORM_FIELDS)] = ()
    """What agents note down of a contact with its disposition."""
    dispose_with_missing_data: bool = False
    """Whether a contact may be disposed of though required fields of the form are missing."""
    carry_over_form: bool = False
    """Whether the form begins, the next time the contact is reserved, with what was noted down the last time."""
    agents_dispose_in_bulk: bool = False
    """Whether agents may dispose of several contacts at once: those in their hand and their own."""
    # what agents see
    agents_see_all_contacts: bool = False
    """Whether agents see all contacts of the campaign, or those in their hand and their own only."""
    history_in_other_campaigns: bool = False
    """Whether agents are told, with a contact, of its calls and dispositions in others of their campaigns."""
    announce_upcoming: bool = False
    """Whether `contacts.upcoming` tells ahead who will be delivered next, so that a CRM may load them."""
    # whose contacts are whose
    release_grace_s: Annotated[int, msgspec.Meta(ge=0, le=600)] = 30
    """How long the contact in hand waits for an agent who logged out or lost the phone."""
    preview_ahead: bool = True
    """Whether an agent may look at the next contact while the present one rings, talks or is wrapped up."""
    link_group: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}$(?!\n)")] = ""
    """Campaigns of the same group share their on-demand agents: one may be active in all of them, in one call at a time."""
    preassignment: Preassignment = Preassignment.NONE
    """How contacts that nobody assigned from outside are split over the agents."""
    preassignment_seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    """The seed of a random split. 0: one is drawn, and written down."""
    delivery: Delivery = Delivery.OWN_FIRST
    """Whether agents get free contacts after their own, or their own only."""
    others_when_unavailable: bool = True
    """Whether agents get contacts of agents who aren't at work, after all others."""
    # which number, how often
    number_strategy: NumberStrategy = NumberStrategy.IN_ORDER
    """Which number of a contact is dialled where nobody chooses."""
    agents_choose_number: bool = True
    """Whether agents may dial another number of the contact than the first."""
    number_cooldown_s: Delay = 0
    """How long a number rests after an attempt before it is dialled by itself again."""
    attempts_per_number: Times = 0
    """Attempts on one number of a contact. 0: no limit, here and below."""
    attempts_per_contact: Times = 0
    """Attempts on a contact; then it is final."""
    number_attempts_per_day: Times = 0
    """Attempts on a number in 24 hours, over all campaigns."""
    person_attempts_per_day: Times = 0
    """Attempts on all numbers of a contact in 24 hours, over all campaigns."""
    retries: Annotated[tuple[RetryRule, ...], msgspec.Meta(max_length=20)] = ()
    """By outcome: when a contact comes back that was tried and not disposed of."""
    # when, and whom not
    windows: Annotated[tuple[Window, ...], msgspec.Meta(max_length=50)] = ()
    """When calls may be made, by the callee's clock. None: at any time."""
    holidays: Annotated[tuple[Date, ...], msgspec.Meta(max_length=400)] = ()
    """Days without calls, by the callee's calendar."""
    consent_required: bool = False
    """Whether only contacts are called of whose consent is known until when it holds."""
    adhoc_numbers: bool = False
    """Whether click-to-call may dial numbers that no contact has."""
    # how much
    target_engaged: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    """How many engaged dispositions the campaign aims at. 0: no aim."""
    stop_at_target: bool = False
    """Whether it stops when it has them."""
    stop_when_completed: bool = True
    """Whether it stops when every contact is final."""
    # the CRM's side
    interaction: Interaction = Interaction.FORM
    """Whether agents work with what is shown here, or the CRM's page is called for each contact."""
    external_url: ExternalUrl | None = None
    """The CRM's address and what it is told."""
    screen_pop_url: Url = ""
    """Shown to the agent's client with the reservation and when the contact answers. Empty: none."""
    script: Body = ""
    """What the agent says, in HTML or Markdown, with the contact's data."""
    tabs: Annotated[tuple[Tab, ...], msgspec.Meta(max_length=MAX_TABS)] = ()
    """Pages beside the contact."""

    def targets(self) -> tuple[Target, ...]:
        """The addresses that these settings lead to. Raises Refused naming the field where a template is wrong."""
        return interactions.check(
            Screen(
                interaction=self.interaction,
                external_url=self.external_url,
                screen_pop_url=self.screen_pop_url,
                script=self.script,
                tabs=self.tabs,
            )
        )

    @property
    def trunks(self) -> tuple[str, ...]:
        """The campaign's own, in order of preference."""
        return (self.trunk, *self.further_trunks)

    def disposition(self, code: str) -> Disposition | None:
        return next((one for one in self.dispositions if one.code == code), None)


class Mode(StrEnum):
    PREVIEW = "preview"


# -- events ---------------------------------------------------------------------------------------------------------


class CampaignCreated(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.created.v1"):
    at: int
    ref: str
    name: str
    mode: Mode
    settings: Settings
    by: str


class CampaignRenamed(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.renamed.v1"):
    at: int
    old: str
    new: str
    by: str


class SettingsChanged(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.settings_changed.v1"):
    """`old` and `new` hold the changed keys only."""

    at: int
    old: dict[str, Any]
    new: dict[str, Any]
    by: str


class CampaignStarting(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.starting.v1"):
    at: int
    by: str


class CampaignRunning(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.running.v1"):
    at: int


class CampaignStopping(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.stopping.v1"):
    """`reason` is `requested`, or `completed` when every contact is final."""

    at: int
    by: str
    reason: str


class StopForced(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.stop_forced.v1"):
    """Somebody took it on themselves to hang up the live calls."""

    at: int
    by: str


class CampaignStopped(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.stopped.v1"):
    at: int
    reason: str


class TargetReached(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.target_reached.v1"):
    """As many dispositions that count as engaged as the campaign aims at."""

    at: int
    target: int
    engaged: int


class CampaignDeleted(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.deleted.v1"):
    """`reason` is the rule by which the dialer deleted it; empty where somebody asked."""

    at: int
    by: str
    reason: str = ""


CampaignEvent = (
    CampaignCreated
    | CampaignRenamed
    | SettingsChanged
    | CampaignStarting
    | CampaignRunning
    | CampaignStopping
    | StopForced
    | CampaignStopped
    | TargetReached
    | CampaignDeleted
)


# -- state ----------------------------------------------------------------------------------------------------------


class Status(StrEnum):
    ABSENT = "absent"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETED = "deleted"


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    ref: str = ""
    name: str = ""
    mode: Mode = Mode.PREVIEW
    status: Status = Status.ABSENT
    settings: Settings = Settings()
    stop_reason: str = ""
    forced: bool = False
    reached: int = 0
    """The highest target that was told to be reached."""
    created: CampaignCreated | None = None
    """What was first asked for: asking so again is no change, whatever was edited since."""
    created_at: int = 0
    last_run_at: int = 0
    revision: int = 0


def patched(settings: Settings, patch: dict[str, Any]) -> Settings:
    """Settings after a JSON merge patch (null puts a default back). Raises Refused naming the key."""
    for key in patch:
        if key not in Settings.__struct_fields__:
            raise invalid(f"settings.{key}", "no such setting")
    try:
        result = _merged(settings, patch)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise invalid("settings" + path.rstrip("`"), reason) from None
    _check_dispositions(result.dispositions)
    check_fields(result.form)
    for name in ("trunks", "supervisors"):
        if len(set(getattr(result, name))) != len(getattr(result, name)):
            raise invalid(f"settings.{'further_trunks' if name == 'trunks' else name}", "one stands twice")
    for index, window in enumerate(result.windows):
        if window.start >= window.end:
            raise invalid(f"settings.windows[{index}].end", f"{window.end} isn't after {window.start}")
    if len({one.outcome for one in result.retries}) != len(result.retries):
        raise invalid("settings.retries", "an outcome appears twice")
    result.targets()
    return result


def _merged(settings: Settings, patch: dict[str, Any]) -> Settings:
    merged = {**msgspec.to_builtins(settings), **patch}
    return msgspec.convert({key: value for key, value in merged.items() if value is not None}, Settings)


def _check_dispositions(dispositions: tuple[Disposition, ...]) -> None:
    """They are a tree: codes are unique, a parent is one of them, and no way up comes back to where it began."""
    by_code = {one.code: one for one in dispositions}
    if len(by_code) != len(dispositions):
        raise invalid("settings.dispositions", "a disposition code appears twice")
    external = [one.external_id for one in dispositions if one.external_id]
    if len(set(external)) != len(external):
        raise invalid("settings.dispositions", "an external_id appears twice")
    for index, one in enumerate(dispositions):
        if one.callback and one.final:
            raise invalid(f"settings.dispositions[{index}].final", "a callback comes back: it isn't final")
        met, above = {one.code}, one.parent
        while above:
            if above not in by_code:
                raise invalid(f"settings.dispositions[{index}].parent", f"there is no disposition {above!r}")
            if above in met:
                raise invalid(f"settings.dispositions[{index}].parent", "it would be under itself")
            met.add(above)
            above = by_code[above].parent


def evolve(state: Campaign, event: CampaignEvent) -> Campaign:
    revised = {"revision": state.revision + 1}
    match event:
        case CampaignCreated():
            return Campaign(
                ref=event.ref,
                name=event.name,
                mode=event.mode,
                settings=event.settings,
                status=Status.CREATED,
                created=event,
                created_at=event.at,
                revision=1,
            )
        case CampaignRenamed():
            return msgspec.structs.replace(state, name=event.new, **revised)
        case SettingsChanged():
            return msgspec.structs.replace(state, settings=_merged(state.settings, event.new), **revised)
        case CampaignStarting():
            return msgspec.structs.replace(state, status=Status.STARTING, stop_reason="", forced=False, **revised)
        case CampaignRunning():
            return msgspec.structs.replace(state, status=Status.RUNNING, last_run_at=event.at, **revised)
        case CampaignStopping():
            return msgspec.structs.replace(state, status=Status.STOPPING, stop_reason=event.reason, **revised)
        case StopForced():
            return msgspec.structs.replace(state, forced=True, **revised)
        case CampaignStopped():
            return msgspec.structs.replace(state, status=Status.STOPPED, last_run_at=event.at, **revised)
        case TargetReached():
            return msgspec.structs.replace(state, reached=event.target)
        case CampaignDeleted():
            return msgspec.structs.replace(state, status=Status.DELETED, **revised)
        case _:
            assert_never(event)


# -- commands, and the two facts that close a transition --------------------------------------------------------------


class Create(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    ref: str
    name: str
    mode: Mode
    settings: Settings


class Modify(msgspec.Struct, frozen=True, kw_only=True):
    """`settings` is a merge patch; `if_revision` refuses the edit when somebody else was first."""

    at: int
    by: str
    name: str | None = None
    settings: dict[str, Any] | None = None
    if_revision: int | None = None


class Start(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    force: bool = False


class Delete(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str


class Clean(msgspec.Struct, frozen=True, kw_only=True):
    """Delete it, if it has been still for `after_ms` since it last ran. Nobody asked: anything else is no refusal."""

    at: int
    by: str
    after_ms: int
    reason: str


class AgentsReady(msgspec.Struct, frozen=True, kw_only=True):
    """Every agent called at start is on the line or known not to come."""

    at: int


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """No live call, no agent's phone."""

    at: int


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """Every contact is final, or the target was reached where the campaign is to stop there."""

    at: int
    reason: str = "completed"


CampaignCommand = Create | Modify | Start | Stop | Delete | Clean
CampaignFact = AgentsReady | Drained | Completed


def decide(state: Campaign, message: CampaignCommand | CampaignFact) -> tuple[CampaignEvent, ...]:
    """The lifecycle's whole truth table; rendered in docs/states.md."""
    match message, state.status:
        # facts are recorded or ignored
        case AgentsReady(at=at), Status.STARTING:
            return (CampaignRunning(at=at),)
        case Completed(at=at, reason=reason), Status.RUNNING:
            return (CampaignStopping(at=at, by="dialer", reason=reason),)
        case Drained(at=at), Status.STOPPING:
            return (CampaignStopped(at=at, reason=state.stop_reason),)
        case ((AgentsReady() | Completed() | Drained()), _):
            return ()
        case Clean(at=at, by=by, after_ms=after_ms, reason=reason), Status.STOPPED if _is_still(state, at, after_ms):
            return (CampaignDeleted(at=at, by=by, reason=reason),)
        case Clean(), _:
            return ()
        # a ref is used once, for ever
        case Create(), Status.ABSENT:
            return (
                CampaignCreated(
                    at=message.at,
                    ref=message.ref,
                    name=message.name,
                    mode=message.mode,
                    settings=message.settings,
                    by=message.by,
                ),
            )
        case Create(), Status.DELETED:
            raise against_rule(
                "campaign-ref-used", f"campaign ref {state.ref!r} was used before and stays refused", "ref"
            )
        case Create(), _:
            body = (message.name, message.mode, message.settings)
            first = state.created
            if body == (state.name, state.mode, state.settings) or (
                first is not None and body == (first.name, first.mode, first.settings)
            ):
                return ()
            raise against_rule("campaign-ref-used", f"campaign {state.ref!r} exists with another body", "ref")
        case ((Modify() | Start() | Stop() | Delete()), Status.ABSENT):
            raise Refused(Fault.ABSENT, "unknown-campaign", "there is no such campaign")
        case ((Modify() | Start() | Stop()), Status.DELETED):
            raise against_rule("campaign-deleted", f"campaign {state.ref!r} is deleted")
        case Modify(), _:
            return _modify(state, message)
        case Start(at=at, by=by), (Status.CREATED | Status.STOPPED):
            return (CampaignStarting(at=at, by=by),)
        case Start(), (Status.STARTING | Status.RUNNING):
            return ()
        case Start(), Status.STOPPING:
            raise against_rule("campaign-stopping", f"campaign {state.ref!r} is stopping: start it when it has stopped")
        case Stop(at=at, by=by, force=force), (Status.STARTING | Status.RUNNING):
            stopping = CampaignStopping(at=at, by=by, reason="requested")
            return (stopping, StopForced(at=at, by=by)) if force else (stopping,)
        case Stop(at=at, by=by, force=True), Status.STOPPING if not state.forced:
            return (StopForced(at=at, by=by),)
        case Stop(), (Status.STOPPING | Status.STOPPED):
            return ()
        case Stop(), Status.CREATED:
            raise against_rule("campaign-not-started", f"campaign {state.ref!r} was never started")
        case Delete(at=at, by=by), (Status.CREATED | Status.STOPPED):
            return (CampaignDeleted(at=at, by=by),)
        case Delete(), Status.DELETED:
            return ()
        case Delete(), (Status.STARTING | Status.RUNNING | Status.STOPPING):
            raise against_rule("campaign-not-stopped", f"campaign {state.ref!r} is {state.status}: stop it first")
        case _:
            raise AssertionError(f"undecided: {type(message).__name__} in {state.status}")  # a test visits every cell


def _is_still(state: Campaign, at: int, after_ms: int) -> bool:
    """Whether it ran, and last ran so long ago."""
    return 0 < state.last_run_at <= at - after_ms


def _modify(state: Campaign, edit: Modify) -> tuple[CampaignEvent, ...]:
    if edit.if_revision is not None and edit.if_revision != state.revision:
        raise stale(
            "revision-mismatch", f"campaign {state.ref!r} is at revision {state.revision}, not {edit.if_revision}"
        )
    events: list[CampaignEvent] = []
    if edit.name is not None and edit.name != state.name:
        events.append(CampaignRenamed(at=edit.at, old=state.name, new=edit.name, by=edit.by))
    if edit.settings:
        before = msgspec.to_builtins(state.settings)
        after = msgspec.to_builtins(patched(state.settings, edit.settings))
        changed = [key for key in after if after[key] != before[key]]
        if changed:
            old, new = {key: before[key] for key in changed}, {key: after[key] for key in changed}
            events.append(SettingsChanged(at=edit.at, old=old, new=new, by=edit.by))
    return tuple(events)
