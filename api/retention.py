"""What will be cleaned and archived by itself, when, and why: the dry run of retention."""

import msgspec
from aiohttp import web

from api import cursor, view
from api.route import Call, Pages, Route, reply, roles
from api.token import Role
from engine.core.campaign import Status
from engine.core.retention import archiving, outlook

MAX_ARCHIVING = 1_000
"""Deleted campaigns in one answer: the soonest."""
READERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)


class Cleaning(msgspec.Struct, kw_only=True):
    """What is ahead of a campaign; `clean_at` is null where it isn't cleaned by itself."""

    campaign: str
    name: str
    state: Status
    last_run_at: view.Time | None
    clean_at: view.Time | None
    due: bool
    why: str
    as_of: view.Position


class Archiving(msgspec.Struct, kw_only=True):
    """What is ahead of a deleted campaign's log; `archive_at` is null where it stays in the store."""

    campaign: str
    deleted_at: view.Time | None
    archive_at: view.Time | None
    due: bool
    why: str


class Outlook(msgspec.Struct, kw_only=True):
    clean_after_days: int
    archive_after_days: int
    campaigns: list[Cleaning]
    """Those that are due first; those that stay come last."""
    next: view.Next
    """Of `campaigns`."""
    archiving: list[Archiving]
    """Deleted campaigns whose logs are in the store: up to 1,000, the soonest first."""
    archived: int
    """Deleted campaigns whose logs left it."""
    as_of: view.DirectoryPosition


async def show(call: Call) -> web.Response:
    """Every campaign with what is ahead of it, those that are due first. Nothing is changed by looking."""
    rule, now = call.service.retention, call.at
    rows: list[tuple[int, Cleaning]] = []
    for ref, running in call.engine.campaigns.items():
        campaign = running.book.campaign
        if not call.may_see(ref, running) or campaign.status is Status.ABSENT:
            continue
        ahead = outlook(rule, campaign)
        row = Cleaning(
            campaign=ref,
            name=campaign.name,
            state=campaign.status,
            last_run_at=view.time(campaign.last_run_at),
            clean_at=view.time(ahead.due_at),
            due=0 < ahead.due_at <= now,
            why=ahead.why,
            as_of=running.actor.log.position,
        )
        rows.append((ahead.due_at, row))
    shown, following = cursor.page(rows, _place, call.after(), call.limit())
    gone = {ref: at for ref, at in call.engine.directory.retired.items() if call.may_see(ref, None)}
    archived = call.engine.directory.archives.archived.keys() & gone.keys()
    return reply(
        Outlook(
            clean_after_days=rule.clean_after_days,
            archive_after_days=rule.archive_after_days,
            campaigns=[row for _, row in shown],
            next=call.cursor(following),
            archiving=_archiving(call, {ref: at for ref, at in gone.items() if ref not in archived}),
            archived=len(archived),
            as_of=call.engine.directory_position,
        )
    )


def _place(one: tuple[int, Cleaning]) -> str:
    due_at, row = one
    return ("due/" if due_at else "stays/") + cursor.moment(due_at, row.campaign)


def _archiving(call: Call, deleted: dict[str, int]) -> list[Archiving]:
    """Those that come due soonest first."""
    archives, now = call.engine.directory.archives, call.at
    ahead = [(archiving(call.service.retention, archives, ref, at), ref, at) for ref, at in deleted.items()]
    ahead.sort(key=lambda one: (not one[0].due_at, one[0].due_at or one[2]))
    return [
        Archiving(
            campaign=ref,
            deleted_at=view.time(at),
            archive_at=view.time(told.due_at),
            due=0 < told.due_at <= now,
            why=told.why,
        )
        for told, ref, at in ahead[:MAX_ARCHIVING]
    ]


ROUTES = [
    Route(
        "GET",
        "/v1/retention",
        show,
        READERS,
        "Show what will be cleaned and archived, and when",
        {200: Outlook},
        query=Pages,
    )
]
