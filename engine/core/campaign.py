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
from engine.core.interaction import MAX_TABS, Body, ExternalUrl, Interaction, Screen, Tab, Target, Url
from engine.core.refusal import Fault, Refused, against_rule, invalid, stale

PLAIN = r"^(?!.*\$[{\[])[^\x00-\x1f\x7f]*$"
"""Text for people: anything but control characters and what a dialplan would evaluate."""
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=PLAIN)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]


class Disposition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way an agent may close a contact. Not final: it comes back after `retry_after_s`."""

    code: Code
    label: Annotated[str, msgspec.Meta(max_length=200, pattern=PLAIN)] = ""
    engaged: bool = False
    final: bool = True
    retry_after_s: Annotated[int, msgspec.Meta(ge=0, le=30 * 86_400)] = 0


DEFAULT_DISPOSITIONS = (
    Disposition(code="engaged", label="Engaged", engaged=True),
    Disposition(code="not_interested", label="Not interested"),
    Disposition(code="wrong_person", label="Wrong person"),
    Disposition(code="no_contact", label="Not reached, give up"),
    Disposition(code="try_later", label="Not reached, try later", final=False, retry_after_s=3_600),
)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be edited in any state but deleted; effective at the next decision."""

    trunk: Code = "carrier"
    caller_id: Annotated[str, msgspec.Meta(pattern=r"^(\+?[0-9]{2,20})?$")] = ""
    reservation_timeout_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 120
    ring_timeout_s: Annotated[int, msgspec.Meta(ge=15, le=120)] = 30
    agent_ring_timeout_s: Annotated[int, msgspec.Meta(ge=5, le=120)] = 20
    max_lines: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    dispositions: Annotated[tuple[Disposition, ...], msgspec.Meta(min_length=1, max_length=200)] = DEFAULT_DISPOSITIONS
    dispose_without_attempt: bool = False
    stop_when_completed: bool = True
    record: bool = False
    """Whether calls are recorded from their bridging on: those dialled from now on, not those under way."""
    agents_may_listen: bool = False
    """Whether agents may hear the recordings of their own calls."""
    interaction: Interaction = Interaction.FORM
    external_url: ExternalUrl | None = None
    screen_pop_url: Url = ""
    """Shown to the agent's client with the reservation and when the contact answers. Empty: none."""
    script: Body = ""
    tabs: Annotated[tuple[Tab, ...], msgspec.Meta(max_length=MAX_TABS)] = ()

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


class CampaignDeleted(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.deleted.v1"):
    at: int
    by: str


CampaignEvent = (
    CampaignCreated
    | CampaignRenamed
    | SettingsChanged
    | CampaignStarting
    | CampaignRunning
    | CampaignStopping
    | StopForced
    | CampaignStopped
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
    created: CampaignCreated | None = None
    """What was first asked for: asking so again is no change, whatever was edited since."""
    created_at: int = 0
    last_run_at: int = 0
    revision: int = 0


def patched(settings: Settings, patch: dict[str, Any]) -> Settings:
    """Settings after a JSON merge patch (null puts a default back). Raises Refused naming the key."""
    merged = msgspec.to_builtins(settings)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
        if key not in Settings.__struct_fields__:
            raise invalid(f"settings.{key}", "no such setting")
    try:
        result = msgspec.convert(merged, Settings)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise invalid("settings" + path.rstrip("`"), reason) from None
    codes = [one.code for one in result.dispositions]
    if len(set(codes)) != len(codes):
        raise invalid("settings.dispositions", "a disposition code appears twice")
    result.targets()
    return result


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
            return msgspec.structs.replace(state, settings=patched(state.settings, event.new), **revised)
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


class AgentsReady(msgspec.Struct, frozen=True, kw_only=True):
    """Every agent called at start is on the line or known not to come."""

    at: int


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """No live call, no agent's phone."""

    at: int


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """Every contact is final."""

    at: int


CampaignCommand = Create | Modify | Start | Stop | Delete
CampaignFact = AgentsReady | Drained | Completed


def decide(state: Campaign, message: CampaignCommand | CampaignFact) -> tuple[CampaignEvent, ...]:
    """The lifecycle's whole truth table; rendered in docs/states.md."""
    match message, state.status:
        # facts are recorded or ignored
        case AgentsReady(at=at), Status.STARTING:
            return (CampaignRunning(at=at),)
        case Completed(at=at), Status.RUNNING:
            return (CampaignStopping(at=at, by="dialer", reason="completed"),)
        case Drained(at=at), Status.STOPPING:
            return (CampaignStopped(at=at, reason=state.stop_reason),)
        case ((AgentsReady() | Completed() | Drained()), _):
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
