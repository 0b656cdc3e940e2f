"""TF-32: when a deleted campaign's log may leave the store, and what is written down of it."""

import pytest

from engine.core.archive import (
    ArchiveCampaign,
    ArchiveCommand,
    Archives,
    CampaignArchived,
    CampaignExported,
    CampaignRestored,
    ExportCampaign,
    RestoreCampaign,
    decide,
)
from engine.core.retention import DAY_MS, Retention, archiving

AT = 1_000 * DAY_MS
EXPORT = ExportCampaign(at=AT, ref="spring", by="max")
ARCHIVE = ArchiveCampaign(at=AT, ref="spring", file="f", sha256="s", segments=2, events=9, by="d", reason="r")
RESTORE = RestoreCampaign(at=AT, ref="spring", by="op")
EXPORTED = CampaignExported(at=AT, ref="spring", by="max")
ARCHIVED = CampaignArchived(at=AT, ref="spring", file="f", sha256="s", segments=2, events=9, by="d", reason="r")
RESTORED = CampaignRestored(at=AT, ref="spring", by="op")

HISTORY = {"live": (), "deleted": (), "archived": (ARCHIVED,), "restored": (ARCHIVED, RESTORED)}


def archives(state: str) -> Archives:
    found = Archives()
    for event in HISTORY[state]:
        found.apply(event)
    return found


@pytest.mark.parametrize(
    ("state", "command", "events"),
    [
        ("live", EXPORT, [EXPORTED]),
        ("live", ARCHIVE, []),
        ("live", RESTORE, []),
        ("deleted", EXPORT, [EXPORTED]),
        ("deleted", ARCHIVE, [ARCHIVED]),
        ("deleted", RESTORE, []),
        ("archived", EXPORT, [EXPORTED]),
        ("archived", ARCHIVE, []),
        ("archived", RESTORE, [RESTORED]),
        ("restored", EXPORT, [EXPORTED]),
        ("restored", ARCHIVE, [ARCHIVED]),
        ("restored", RESTORE, []),
    ],
)
def test_each_command_in_each_state(state: str, command: ArchiveCommand, events: list[object]) -> None:
    known = archives(state)
    assert decide(known, state != "live", command) == events
    for event in decide(known, state != "live", command):
        known.apply(event)
    if not isinstance(command, ExportCampaign):
        assert decide(known, state != "live", command) == []  # said twice it is done once


def test_a_log_is_due_so_many_days_after_the_deletion_or_after_it_was_put_back() -> None:
    rule = Retention(archive_after_days=30)
    assert archiving(rule, archives("deleted"), "spring", AT).due_at == AT + 30 * DAY_MS
    assert archiving(rule, archives("restored"), "spring", AT - 90 * DAY_MS).due_at == AT + 30 * DAY_MS
    assert archiving(rule, archives("archived"), "spring", AT - 90 * DAY_MS).due_at == 0
    assert archiving(Retention(), archives("deleted"), "spring", AT - 90 * DAY_MS).due_at == 0
    assert "switched off" in archiving(Retention(), archives("deleted"), "spring", AT).why
