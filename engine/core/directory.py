"""What belongs to no campaign: agents and their phones, refs ever used, receivers of notifications, revoked tokens.

A campaign ref and a contact ref are used once, for ever: the directory remembers them after everything else is gone.
"""

from typing import Annotated, Any, assert_never

import msgspec

from engine.core import archive, webhook
from engine.core.archive import (
    ArchiveCampaign,
    ArchiveCommand,
    ArchiveEvent,
    Archives,
    CampaignArchived,
    CampaignExported,
    CampaignRestored,
    ExportCampaign,
    RestoreCampaign,
)
from engine.core.erasure import ErasePerson, NumbersSuppressed, PersonErased, erase, salt_in
from engine.core.personal import Details, Person
from engine.core.refusal import absent, against_rule
from engine.core.revocation import (
    RevocationCommand,
    RevocationEvent,
    Revocations,
    RevokeSubject,
    RevokeToken,
    SubjectRevoked,
    TokenRevoked,
)
from engine.core.standing import SUPPRESSED, Standing, line_of
from engine.core.used import UsedRefs
from engine.core.webhook import (
    PutWebhook,
    RemoveWebhook,
    RotateWebhook,
    WebhookCommand,
    WebhookEvent,
    WebhookPut,
    WebhookRemoved,
)


class AgentRegistered(msgspec.Struct, frozen=True, kw_only=True, tag="agent.registered.v1"):
    at: int
    agent: str
    name: str
    phone: str
    by: str


class CampaignRefUsed(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.ref_used.v1"):
    at: int
    ref: str
    by: str


class CampaignRetired(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.retired.v1"):
    """Deleted: its log needs no reading any more."""

    at: int
    ref: str


class ContactRefsUsed(msgspec.Struct, frozen=True, kw_only=True, tag="contact.refs_used.v1"):
    at: int
    campaign: str
    refs: tuple[str, ...]


class NumbersListed(msgspec.Struct, frozen=True, kw_only=True, tag="dnc.listed.v1"):
    """Up to 1,000 numbers are not to be called, until a time (0: for ever). They are the person's: the list's subject."""

    at: int
    list: str
    version: int
    person: Person
    until: int
    by: str


class NumbersUnlisted(msgspec.Struct, frozen=True, kw_only=True, tag="dnc.unlisted.v1"):
    at: int
    list: str
    version: int
    person: Person
    by: str


class ExternalIdBound(msgspec.Struct, frozen=True, kw_only=True, tag="external.bound.v1"):
    """An external system's own id for a campaign or an agent; `ref` "" unbinds."""

    at: int
    system: str
    kind: str
    id: str
    ref: str
    by: str


class TagPut(msgspec.Struct, frozen=True, kw_only=True, tag="tag.put.v1"):
    """From now on contacts may bear it."""

    at: int
    name: str
    by: str


class TagRemoved(msgspec.Struct, frozen=True, kw_only=True, tag="tag.removed.v1"):
    """No new contact may bear it; those that do keep it."""

    at: int
    name: str
    by: str


class MappingPut(msgspec.Struct, frozen=True, kw_only=True, tag="mapping.put.v1"):
    """Our column by the header in files of this kind."""

    at: int
    name: str
    columns: dict[str, str]
    by: str


class MappingRemoved(msgspec.Struct, frozen=True, kw_only=True, tag="mapping.removed.v1"):
    at: int
    name: str
    by: str


DirectoryEvent = (
    NumbersListed
    | NumbersUnlisted
    | ExternalIdBound
    | AgentRegistered
    | CampaignRefUsed
    | CampaignRetired
    | ArchiveEvent
    | ContactRefsUsed
    | WebhookEvent
    | RevocationEvent
    | TagPut
    | TagRemoved
    | MappingPut
    | MappingRemoved
    | PersonErased
    | NumbersSuppressed
)


def stream_of(event: DirectoryEvent) -> str:
    match event:
        case AgentRegistered():
            return f"agent/{event.agent}"
        case CampaignRefUsed() | CampaignRetired() | CampaignExported() | CampaignArchived() | CampaignRestored():
            return f"campaign/{event.ref}"
        case ContactRefsUsed():
            return f"contacts/{event.campaign}"
        case WebhookPut() | WebhookRemoved():
            return f"webhook/{event.id}"
        case TokenRevoked() | SubjectRevoked():
            return "tokens"
        case NumbersListed() | NumbersUnlisted():
            return f"dnc/{event.list}"
        case ExternalIdBound():
            return f"external/{event.system}"
        case TagPut() | TagRemoved():
            return "tags"
        case MappingPut() | MappingRemoved():
            return f"mapping/{event.name}"
        case PersonErased():
            return "erasures"
        case NumbersSuppressed():
            return f"dnc/{SUPPRESSED}"
        case _:
            assert_never(event)


class Directory:
    def __init__(self) -> None:
        self.agents: dict[str, AgentRegistered] = {}
        self._names: dict[str, list[tuple[int, str]]] = {}
        """Every name that an agent had, with the time from which on."""
        self.campaigns: dict[str, bool] = {}
        """Every campaign ref ever used; True once deleted."""
        self.retired: dict[str, int] = {}
        """When those that are deleted were."""
        self.archives = Archives()
        self.contacts = UsedRefs()
        """The campaign that first used a contact ref."""
        self.webhooks: dict[str, WebhookPut] = {}
        self.revoked = Revocations()
        self.tags: dict[str, None] = {}
        self.mappings: dict[str, dict[str, str]] = {}
        """How columns of files are named, by the mapping's name."""
        self.external: dict[tuple[str, str, str], str] = {}
        """Ref by (system, kind, its own id)."""
        self.erased: dict[str, str] = {}
        """Contacts whose person was erased, or is to be as soon as no call hinders it; with their campaigns."""
        self.standing = Standing()
        """The do-not-call lists, where those who dial look."""

    def name_at(self, agent: str, at: int) -> str:
        """What an agent was called at a time; before the first name that one, "" for nobody."""
        names = self._names.get(agent, [(0, "")])
        return next((name for since, name in reversed(names) if since <= at), names[0][1])

    def apply(self, event: DirectoryEvent) -> None:
        match event:
            case AgentRegistered():
                self.agents[event.agent] = event
                self._names.setdefault(event.agent, []).append((event.at, event.name))
            case CampaignRefUsed():
                self.campaigns[event.ref] = False
            case CampaignRetired():
                self.campaigns[event.ref] = True
                self.retired[event.ref] = event.at
            case CampaignExported() | CampaignArchived() | CampaignRestored():
                self.archives.apply(event)
            case ContactRefsUsed():
                self.contacts.use(event.refs, event.campaign)
            case WebhookPut():
                self.webhooks[event.id] = event
            case WebhookRemoved():
                self.webhooks.pop(event.id, None)
            case TokenRevoked() | SubjectRevoked():
                self.revoked.apply(event)
            case NumbersListed():
                self.standing.put(event.list, _numbers(event.person), event.until, event.version)
            case NumbersUnlisted():
                self.standing.remove(event.list, _numbers(event.person), event.version)
            case ExternalIdBound():
                if event.ref:
                    self.external[event.system, event.kind, event.id] = event.ref
                else:
                    self.external.pop((event.system, event.kind, event.id), None)
            case TagPut():
                self.tags[event.name] = None
            case TagRemoved():
                self.tags.pop(event.name, None)
            case MappingPut():
                self.mappings[event.name] = event.columns
            case MappingRemoved():
                self.mappings.pop(event.name, None)
            case PersonErased():
                for campaign, refs in event.contacts.items():
                    self.erased.update(dict.fromkeys(refs, campaign))
            case NumbersSuppressed():
                self.standing.suppress(salt_in(event), event.digests, event.version)
            case _:
                assert_never(event)


# -- commands -------------------------------------------------------------------------------------------------------

PhoneName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]


class RegisterAgent(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    agent: str
    name: str
    phone: str


class UseCampaignRef(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    ref: str


class RetireCampaign(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    ref: str


class UseContactRefs(msgspec.Struct, frozen=True, kw_only=True):
    """Reply: for each ref that another campaign used first, that campaign."""

    at: int
    campaign: str
    refs: tuple[str, ...]


class ListNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """Put numbers on a do-not-call list; `until` 0 is for ever. Reply: how many were new to it."""

    at: int
    by: str
    list: str
    numbers: tuple[str, ...]
    until: int = 0


class UnlistNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """Take numbers off a list. Reply: how many stood there."""

    at: int
    by: str
    list: str
    numbers: tuple[str, ...]


class BindExternalId(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` is `campaign` or `agent`; the triple names one ref for ever or until it is unbound (`ref` "")."""

    at: int
    by: str
    system: str
    kind: str
    id: str
    ref: str


class PutTag(msgspec.Struct, frozen=True, kw_only=True):
    """Reply: whether it is new."""

    at: int
    by: str
    name: str


class RemoveTag(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    name: str


class PutMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Reply: whether it is new."""

    at: int
    by: str
    name: str
    columns: dict[str, str]


class RemoveMapping(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    name: str


MAX_TAGS, MAX_MAPPINGS = 10_000, 1_000

DirectoryCommand = (
    ListNumbers
    | UnlistNumbers
    | BindExternalId
    | RegisterAgent
    | UseCampaignRef
    | RetireCampaign
    | ArchiveCommand
    | UseContactRefs
    | WebhookCommand
    | RevocationCommand
    | PutTag
    | RemoveTag
    | PutMapping
    | RemoveMapping
    | ErasePerson
)


def decide(state: Directory, command: DirectoryCommand) -> tuple[list[DirectoryEvent], Any]:
    match command:
        case RegisterAgent():
            known = state.agents.get(command.agent)
            if known is not None and (known.name, known.phone) == (command.name, command.phone):
                return [], None
            phone_of = next((one.agent for one in state.agents.values() if one.phone == command.phone), command.agent)
            if phone_of != command.agent:
                raise against_rule("phone-taken", f"phone {command.phone!r} is agent {phone_of!r}'s", "phone")
            event = AgentRegistered(
                at=command.at, agent=command.agent, name=command.name, phone=command.phone, by=command.by
            )
            return [event], None
        case UseCampaignRef():
            if state.campaigns.get(command.ref):
                raise against_rule(
                    "campaign-ref-used", f"campaign ref {command.ref!r} was used before and stays refused", "ref"
                )
            used = command.ref in state.campaigns
            return ([] if used else [CampaignRefUsed(at=command.at, ref=command.ref, by=command.by)]), None
        case RetireCampaign():
            retired = state.campaigns.get(command.ref, True)
            return ([] if retired else [CampaignRetired(at=command.at, ref=command.ref)]), None
        case ExportCampaign() | ArchiveCampaign() | RestoreCampaign():
            deleted = state.campaigns.get(command.ref, False)
            return list(archive.decide(state.archives, deleted, command)), None
        case UseContactRefs():
            return _use_contact_refs(state, command)
        case PutWebhook():
            events, given = webhook.put(state.webhooks, command)
            return list(events), given
        case RotateWebhook():
            return list(webhook.rotate(state.webhooks.get(command.id), command)), None
        case RemoveWebhook():
            return list(webhook.remove(state.webhooks.get(command.id), command)), None
        case RevokeToken() | RevokeSubject():
            revoking, given = state.revoked.decide(command)
            return list(revoking), given
        case ListNumbers():
            return _list(state, command)
        case UnlistNumbers():
            return _unlist(state, command)
        case BindExternalId():
            return _bind(state, command), None
        case PutTag() | RemoveTag():
            return _tag(state, command)
        case PutMapping() | RemoveMapping():
            return _map(state, command)
        case ErasePerson():
            return list(erase(state.erased, state.standing, command)), None
        case _:
            assert_never(command)


def _numbers(person: Person) -> tuple[str, ...]:
    return person.details.numbers if person.details is not None else ()


def _person(name: str, numbers: tuple[str, ...]) -> Person:
    return Person(f"dnc/{name}", Details(numbers=numbers))


def _list(state: Directory, command: ListNumbers) -> tuple[list[DirectoryEvent], int]:
    standing = state.standing.lists.get(command.list, {})
    new = tuple(
        dict.fromkeys(one for one in command.numbers if standing.get(line_of(one), command.until - 1) != command.until)
    )
    if not new:
        return [], 0
    version = state.standing.versions.get(command.list, 0) + 1
    listed = NumbersListed(
        at=command.at,
        list=command.list,
        version=version,
        person=_person(command.list, new),
        until=command.until,
        by=command.by,
    )
    return [listed], len(new)


def _unlist(state: Directory, command: UnlistNumbers) -> tuple[list[DirectoryEvent], int]:
    standing = state.standing.lists.get(command.list, {})
    known = tuple(dict.fromkeys(one for one in command.numbers if line_of(one) in standing))
    if not known:
        return [], 0
    version = state.standing.versions.get(command.list, 0) + 1
    unlisted = NumbersUnlisted(
        at=command.at, list=command.list, version=version, person=_person(command.list, known), by=command.by
    )
    return [unlisted], len(known)


def _bind(state: Directory, command: BindExternalId) -> list[DirectoryEvent]:
    known = state.external.get((command.system, command.kind, command.id), "")
    if known == command.ref:
        return []
    if known and command.ref:
        raise against_rule(
            "external-id-used", f"{command.kind} {command.id!r} of {command.system!r} is {known!r} already", "id"
        )
    bound = ExternalIdBound(
        at=command.at, system=command.system, kind=command.kind, id=command.id, ref=command.ref, by=command.by
    )
    return [bound]


def _tag(state: Directory, command: PutTag | RemoveTag) -> tuple[list[DirectoryEvent], bool]:
    known = command.name in state.tags
    if isinstance(command, RemoveTag):
        if not known:
            raise absent("tag", command.name)
        return [TagRemoved(at=command.at, name=command.name, by=command.by)], False
    if not known and len(state.tags) >= MAX_TAGS:
        raise against_rule("too-many-tags", f"there are {MAX_TAGS} tags already")
    return ([] if known else [TagPut(at=command.at, name=command.name, by=command.by)]), not known


def _map(state: Directory, command: PutMapping | RemoveMapping) -> tuple[list[DirectoryEvent], bool]:
    known = state.mappings.get(command.name)
    if isinstance(command, RemoveMapping):
        if known is None:
            raise absent("mapping", command.name)
        return [MappingRemoved(at=command.at, name=command.name, by=command.by)], False
    if known is None and len(state.mappings) >= MAX_MAPPINGS:
        raise against_rule("too-many-mappings", f"there are {MAX_MAPPINGS} mappings already")
    put = MappingPut(at=command.at, name=command.name, columns=command.columns, by=command.by)
    return ([] if known == command.columns else [put]), known is None


def _use_contact_refs(state: Directory, command: UseContactRefs) -> tuple[list[DirectoryEvent], dict[str, str]]:
    owners = {ref: state.contacts.get(ref, "") for ref in state.contacts.known(command.refs)}
    clashes = {ref: owner for ref, owner in owners.items() if owner != command.campaign}
    fresh = tuple(ref for ref in dict.fromkeys(command.refs) if ref not in owners)
    events: list[DirectoryEvent] = []
    if fresh:
        events.append(ContactRefsUsed(at=command.at, campaign=command.campaign, refs=fresh))
    return events, clashes
