"""EX-04, what-if: a recorded day run again in the simulated world, with its own settings and with others."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from engine.core.call import CallEnded, CallRequested
from engine.core.campaign import CampaignRunning, CampaignStopped, SettingsChanged
from engine.core.contact import ContactCancelled, ContactsAdded
from engine.core.outcome import Outcome
from engine.limits import Limits
from engine.service import LogEvent
from eventstore import Codec, open_store
from simulations.__main__ import app
from simulations.whatif.day import Day, NoSuchDay, read_day
from simulations.whatif.fate import learn as learn_fates
from simulations.whatif.figure import CALLS, CONNECTED, LAPSED, TRIED, WAITING, figures_of
from simulations.whatif.habit import learn as learn_habits
from simulations.whatif.rerun import Changes, Ran, rerun
from tests.simulations.whatif import lived
from tests.simulations.whatif.lived import CANCELLED, CLICKED, LATE, LISTED

BEGAN = date(2027, 1, 15)
"""Where the simulated clock stands when a world begins, at 08:00 UTC."""
NOW = 0
"""Long before: the whole day is past."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('day') / 'ringfold.db'}"
    asyncio.run(lived.write(url, lived.lived()))
    return url


def read(url: str, day: date | None = None, zone: Any = UTC, campaign: str = "spring") -> Day:
    async def work() -> Day:
        store = await open_store(url, Codec(LogEvent))
        try:
            return await read_day(store, campaign, day, zone, NOW)
        finally:
            await store.close()

    return asyncio.run(work())


@pytest.fixture(scope="module")
def day(url: str) -> Day:
    return read(url)


def again(day: Day, seed: int = 1, **settings: Any) -> Ran:
    return rerun(day, learn_habits(day), learn_fates(day), Changes(settings), Limits(), seed)


@pytest.fixture(scope="module")
def control(day: Day) -> Ran:
    return again(day)


def of_kind(kind: type, events: Sequence[Any]) -> list[Any]:
    return [one for one in events if isinstance(one, kind)]


def test_EX_04_a_rerun_with_the_days_settings_is_nearly_the_day(day: Day, control: Ran) -> None:
    real, made = figures_of(day, day.events).values, figures_of(day, control.events).values

    assert real[CALLS] > 100
    for figure in (CALLS, CONNECTED, TRIED):
        assert made[figure] == pytest.approx(real[figure], rel=0.1), figure
    assert control.drawn["fates of calls"] < real[CALLS] / 10
    assert again(day).events == control.events
    assert again(day, seed=2).events != control.events


def test_EX_04_what_came_from_outside_comes_again_when_it_did(day: Day, control: Ran) -> None:
    for kind in (ContactsAdded, ContactCancelled, SettingsChanged, CampaignRunning, CampaignStopped):
        before, now = of_kind(kind, day.events), of_kind(kind, control.events)
        assert len(before) == len(now) > 0, kind
        if kind is not CampaignStopped:  # that waits for calls to end
            assert all(abs(one.at - other.at) < 1_000 for one, other in zip(before, now, strict=True)), kind
    assert {one.ref for added in of_kind(ContactsAdded, control.events) for one in added.contacts} >= set(LATE)
    assert [one.contact for one in of_kind(ContactCancelled, control.events)] == [CANCELLED]
    dialled = {one.contact: one for one in of_kind(CallRequested, control.events)}
    assert set(LATE) & dialled.keys()
    assert LISTED not in dialled
    [clicked], [again] = (
        [one for one in of_kind(CallRequested, events) if one.request] for events in (day.events, control.events)
    )
    assert (again.contact, again.agent, again.request) == (CLICKED, clicked.agent, clicked.request)
    assert 0 <= again.at - clicked.at < 300_000, "the agent may have another contact in hand at first"


def ends_of(day: Day, events: Sequence[Any]) -> dict[tuple[str, int], list[tuple[Outcome, int]]]:
    """By contact and number: how its attempts ended in turn, and after how long."""
    begun = {one.call: one.at for one in of_kind(CallRequested, events)}
    found = defaultdict(list)
    for one in of_kind(CallEnded, events):
        if one.at < day.ends and one.call in begun:
            found[one.contact, one.number].append((one.outcome, one.at - begun[one.call]))
    return found


def test_EX_04_each_attempt_ends_as_it_really_did_and_what_never_was_is_drawn(day: Day, control: Ran) -> None:
    """Given other settings, under which others are called too, then whoever was called on the day answers as then."""
    changed = again(day, attempts_per_contact=1, retries=[])
    real = ends_of(day, day.events)
    for ran in (control, changed):
        same = [
            (then, now)
            for key, ends in ends_of(day, ran.events).items()
            for then, now in zip(real.get(key, ()), ends, strict=False)
        ]
        assert len(same) > 50
        for (then, took_ms), (now, takes_ms) in same:
            assert then is now
            assert takes_ms == pytest.approx(took_ms, abs=1_000)
    reached = ends_of(day, changed.events)
    assert changed.drawn["fates of calls"] > control.drawn["fates of calls"]
    assert set(reached) - set(real)
    assert all(len(ends) == 1 for ends in reached.values())


def test_EX_04_a_lease_shorter_than_agents_look_lapses(day: Day, control: Ran) -> None:
    real, short = (
        figures_of(day, control.events).values,
        figures_of(day, again(day, reservation_timeout_s=8).events).values,
    )

    assert short[LAPSED] > 10 * max(1, real[LAPSED])
    assert short[CALLS] < real[CALLS] / 2


def test_EX_04_a_day_begins_at_the_zones_midnight_with_the_state_of_then(url: str, day: Day) -> None:
    """Given a zone whose midnight is in the midst of the work, then the rerun goes on from how things stood."""
    split = timezone(-timedelta(hours=8, minutes=30))
    evening, morning = read(url, BEGAN - timedelta(days=1), split), read(url, BEGAN, split)

    assert [*evening.events, *morning.events] == list(day.events)
    assert morning.before == evening.events
    assert (len(evening.book.agents), len(morning.book.agents)) == (0, 3)
    assert morning.book.calls
    ran = again(morning)
    real, made = figures_of(morning, morning.events).values, figures_of(morning, ran.events).values
    assert made[CALLS] == pytest.approx(real[CALLS], rel=0.15)
    assert min(one.at for one in of_kind(CallRequested, ran.events)) >= morning.begins


def test_EX_04_a_day_without_calls_is_refused_by_name(url: str) -> None:
    with pytest.raises(NoSuchDay, match="there is no campaign 'autumn'"):
        read(url, campaign="autumn")
    with pytest.raises(NoSuchDay, match="dialled nobody on 2027-01-16"):
        read(url, BEGAN + timedelta(days=1))


# -- the command ----------------------------------------------------------------------------------------------------


def asked(*words: str) -> int:
    try:
        app(["what-if", *words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_EX_04_the_command_compares_in_a_table_in_json_and_in_a_picture(
    url: str, day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RINGFOLD_STORE__URL", url)
    file, page = tmp_path / "changed.toml", tmp_path / "what-if.html"
    file.write_text('reservation_timeout_s = 8\n[[retries]]\noutcome = "busy"\nafter_s = 30\n', "utf-8")

    assert asked("spring", "--settings", str(file), "--seeds", "1", "--report", str(page)) == 0
    table = capsys.readouterr().out
    assert asked("spring", "--set", "max_lines=3", "--set", "delivery=own_only", "--seeds", "1", "--json") == 0
    told = json.loads(capsys.readouterr().out)

    assert "spring, 2027-01-15, 1 seed" in table
    assert "reservations lapsed" in table
    figures = {one["name"]: one for one in told["figures"]}
    real = figures_of(day, day.events).values
    assert figures["calls"]["day"] == real[CALLS]
    assert figures["agents' waiting"]["day"] == pytest.approx(real[WAITING], abs=0.001)
    assert told["settings"] == {"max_lines": 3, "delivery": "own_only"}
    assert (told["day"], sum(told["hours"]["day"]["calls"])) == ("2027-01-15", real[CALLS])
    shown = page.read_text("utf-8")
    assert "<svg" in shown
    assert "reservation_timeout_s = 8" in shown
    for text in (table, json.dumps(told), shown):
        assert "Somebody" not in text
        assert "3000000" not in text


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("spring",), 2, "name a setting to change"),
        (("spring", "--set", "reservation_timeout=9"), 2, "reservation_timeout: a campaign has no such setting"),
        (("spring", "--set", "reservation_timeout_s=0"), 2, "reservation_timeout_s: Expected `int` >= 1"),
        (("spring", "--set", "delivery=any"), 2, "delivery: Invalid enum value 'any'"),
        (("spring", "--set", "max_lines"), 2, "'max_lines' is no KEY=VALUE"),
        (
            ("spring", "--set", 'windows=[{start = "18:00", end = "09:00"}]'),
            2,
            "windows[0].end: 09:00 isn't after 18:00",
        ),
        (("spring", "--set", "max_lines=1", "--day", "May"), 2, "--day 'May' is no day"),
        (("spring", "--set", "max_lines=1", "--zone", "Bogota"), 2, "--zone 'Bogota' is no zone"),
        (("spring", "--set", "max_lines=1", "--seeds", "0"), 2, "--seeds 0: from 1 to 100"),
        (("spring", "--settings", "nowhere.toml"), 2, "--settings nowhere.toml: "),
        (("autumn", "--set", "max_lines=1"), 1, "there is no campaign 'autumn'"),
        (("spring", "--set", "max_lines=1", "--day", "2027-01-16"), 1, "dialled nobody on 2027-01-16"),
    ],
)
def test_EX_04_what_is_wrong_is_said_by_name(
    words: tuple[str, ...],
    status: int,
    said: str,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RINGFOLD_STORE__URL", url)

    assert asked(*words) == status

    told = capsys.readouterr()
    assert (told.out, said in told.err) == ("", True), told.err
