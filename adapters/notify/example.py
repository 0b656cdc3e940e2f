"""An example of each type: in the reference, in the published schema, and what a test delivery sends."""

from adapters.notify.content.agent import AgentAllocated, AgentRemoved, AgentStateChanged
from adapters.notify.content.base import Content
from adapters.notify.content.call import CallBridged, CallConnected, CallEnded, CallRequested, CallRinging
from adapters.notify.content.campaign import (
    CampaignCreated,
    CampaignDeleted,
    CampaignRenamed,
    CampaignSettingsChanged,
    CampaignStatus,
    CampaignStopForced,
    CampaignTargetReached,
)
from adapters.notify.content.contact import (
    ContactCancelled,
    ContactErased,
    ContactExhausted,
    ContactsAdded,
    ContactsAssigned,
    ContactsReplaced,
    ContactsUpcoming,
)
from adapters.notify.content.importing import ImportFinished, ImportStarted
from adapters.notify.content.reservation import (
    ContactDialRefused,
    ContactDisposed,
    ContactReleased,
    ContactReservationExtended,
    ContactReserved,
)
from adapters.notify.content.webhook import WebhookParked, WebhookPing, WebhookResumed
from engine.core.agent import AgentStatus, DefaultState, Line
from engine.core.campaign import Mode, Settings
from engine.core.importing import ImportMode
from engine.core.outcome import Outcome, Party
from engine.core.reservation import Release

CAMPAIGN, SEQ, AT = "spring", 7, 1_795_435_200_000
WHO = {"contact": "spring:1", "agent": "anna"}
HELD = {**WHO, "reservation": "9b0e5a7f2c4d4e0f8a1b3c5d7e9f1a2b"}
CALL = {"call": "5f0c5e5f0f0b4a5f9d7a1c2b3d4e5f60"}
DIALLED = {**CALL, **WHO, "number": "+573105822141"}
LATER = "2026-11-24T09:05:00.000Z"

EXAMPLES: tuple[Content, ...] = (
    CampaignCreated(name="Spring renewals", mode=Mode.PREVIEW, settings=Settings(max_lines=20), by="manager"),
    CampaignRenamed(old="Spring", new="Spring renewals", by="manager"),
    CampaignSettingsChanged(old={"max_lines": 20}, new={"max_lines": 30}, by="manager"),
    CampaignStatus(state="stopping", reason="requested", by="manager"),
    CampaignStopForced(by="manager"),
    CampaignTargetReached(target=100, engaged=100),
    CampaignDeleted(by="dialer:retention", reason="ran over 7 days ago"),
    AgentAllocated(
        agent="anna",
        phone="anna",
        line=Line.NAILED,
        default_state=DefaultState.AVAILABLE,
        weight=1,
        by="manager",
    ),
    AgentRemoved(agent="anna"),
    AgentStateChanged(agent="anna", state=AgentStatus.AVAILABLE, reason=""),
    ContactsAdded(count=250, first="spring:1", last="spring:250", by="manager"),
    ContactsReplaced(contacts=["spring:1", "spring:2"], by="manager"),
    ContactsAssigned(method="weight", seed=1, agents={"anna": 120, "bo": 130}),
    ContactsUpcoming(contacts=["spring:3", "spring:4"]),
    ContactExhausted(contact="spring:1", attempts=5),
    ContactErased(contact="spring:1", by="admin"),
    ContactCancelled(contact="spring:1", reason="asked not to be called", by="manager"),
    ContactReserved(**HELD, expires_at=LATER),
    ContactReservationExtended(**HELD, expires_at=LATER, reason="heartbeat"),
    ContactReleased(**HELD, reason=Release.SKIPPED, note="later", due_at=None),
    ContactDisposed(
        **HELD,
        **CALL,
        by=None,
        disposition="callback",
        data={"interest": "gold", "people": 3},
        engaged=True,
        final=False,
        due_at=LATER,
        callback="anna",
        exhausted=False,
        dnc=None,
    ),
    ContactDialRefused(
        **HELD,
        number="+573105822141",
        number_index=0,
        rule="dnc",
        detail="the number stands on the list",
        list_version=12,
    ),
    CallRequested(**DIALLED, number_index=0, trunk="carrier", trunk_reason=None),
    CallRinging(**CALL, **WHO),
    CallConnected(
        call=CALL["call"],
        contact="spring:1",
        agent="anna",
        number="+573105822141",
        number_index=0,
        campaign=CAMPAIGN,
        name="Bo",
        data={"plan": "gold"},
    ),
    CallBridged(**CALL, **WHO),
    CallEnded(
        **DIALLED,
        number_index=0,
        outcome=Outcome.ANSWERED,
        ended_by=Party.CONTACT,
        reason="",
        cause=16,
        sip_code=200,
        ring_ms=8_200,
        talk_ms=64_000,
        recording=None,
        recording_fault=None,
    ),
    ImportStarted(import_id=CALL["call"], name="march.csv", mode=ImportMode.ADD, rows=250, by="manager"),
    ImportFinished(import_id=CALL["call"], added=248, known=2, replaced=0, rejected=0, cancelled=0, lost=False),
    WebhookParked(
        webhook="crm", campaign=None, reason="failing", error="HTTP 503", failing_since="2026-11-21T12:00:00.000Z"
    ),
    WebhookResumed(webhook="crm"),
    WebhookPing(webhook="crm", by="admin"),
)
"""One of each, in the order in which they are documented."""
