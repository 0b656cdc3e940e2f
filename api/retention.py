"""What will be cleaned by itself, when, and why: the dry run of retention."""

import msgspec
from aiohttp import web

from api import view
from api.route import Call, Route, reply, roles
from api.token import Role
from engine.core.campaign import Status
from engine.core.retention import outlook

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


class Outlook(msgspec.Struct, kw_only=True):
    clean_after_days: int
    campaigns: list[Cleaning]


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
            clean_at=view.time(ahead.clean_at),
            due=0 < ahead.clean_at <= now,
            why=ahead.why,
            as_of=running.actor.log.position,
        )
        rows.append((ahead.clean_at, row))
    rows.sort(key=lambda one: (not one[0], one[0]))
    return reply(Outlook(clean_after_days=rule.clean_after_days, campaigns=[row for _, row in rows]))


ROUTES = [Route("GET", "/v1/retention", show, READERS, "Show what will be cleaned, and when", {200: Outlook})]
