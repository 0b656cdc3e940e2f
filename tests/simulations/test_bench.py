"""The benchmarks' harness, at tiny sizes: what it tells, and what it does where a group fails. No figure is judged."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.bench.__main__ import main
from simulations.bench.aim import AIMS, CURVES, GROUPS, Group, group
from simulations.bench.bare import Bare
from simulations.bench.dialer import AgentsMissing, Crowd, Dialer, Pbx
from simulations.bench.figure import Rounds, flat
from simulations.bench.group import measure_of
from simulations.bench.page import page, points_of
from simulations.pbx import BUSY, Script, SimulatedPbx
from simulations.postgres import NotInstalled, binaries

KEYS = (
    "log_vs_library log_vs_pgbench tick_vs_library tick_vs_pgbench replay_vs_library restart_1m_s asterisk_ratio"
    " attempts_per_core_s due_to_originate_p99_ms answer_to_bridge_p99_ms next_p99_ms_1m next_p99_ms_5m bytes_per_contact"
    " expiry_p99_ms import_1m_s import_loop_lag_p99_ms notify_p99_ms feed_clients bytes_per_event sim_speedup"
).split()
CHEAP = ("expiry", "attempts", "latency")
TINY = ("--quick", "--seconds", "0.2")


def bench(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "simulations", "bench", "--folder", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_table_has_every_figure_and_a_group_for_each() -> None:
    assert sorted(one.key for one in AIMS) == sorted(KEYS)
    assert {one.group for one in AIMS} <= {one.name for one in GROUPS}
    assert all(callable(measure_of(one.name)) for one in GROUPS)


def keys_of(*groups: str) -> set[str]:
    return {one.key for one in AIMS if one.group in groups}


def flat_numbers(file: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads(file.read_text())
    assert all(isinstance(one, int | float) for one in found.values())
    return found


@pytest.mark.slow
def test_a_quick_round_gives_flat_figures_a_table_and_a_page(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", ",".join(CHEAP), *TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    found = flat_numbers(tmp_path / "bench.json")
    assert keys_of(*CHEAP) <= set(found)
    assert all(key in done.stdout for key in keys_of(*CHEAP))
    assert all(f"{group}: " in done.stderr for group in CHEAP)  # progress, as it goes
    drawn = (tmp_path / "bench.html").read_text("utf-8")
    assert "<svg" in drawn
    assert all(key in drawn for key in KEYS)


@pytest.mark.slow
@pytest.mark.postgres
def test_a_quick_round_on_postgresql(tmp_path: Path) -> None:
    try:
        binaries()
    except NotInstalled as reason:
        pytest.skip(str(reason))
    groups = ("log", "ticks", "replay", "size")
    done = bench(tmp_path, "--only", ",".join(groups), *TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert keys_of(*groups) <= set(flat_numbers(tmp_path / "bench.json"))


def test_a_group_that_fails_keeps_the_others_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = Group("nowhere", "there is nothing to measure", "nowhere:measure")
    monkeypatch.setattr("simulations.bench.__main__.GROUPS", (nowhere, group("expiry")))
    assert main(quick=True, folder=tmp_path) == 1
    assert keys_of("expiry") <= set(flat_numbers(tmp_path / "bench.json"))
    told = capsys.readouterr().out
    assert "nowhere failed:" in told
    assert "KeyError" in told


def test_a_group_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.bench.__main__.GROUPS", (group("expiry")._replace(within_s=1),))
    assert main(quick=True, folder=tmp_path) == 1
    assert not (tmp_path / "bench.json").exists()


def test_ratios_are_of_rounds_and_figures_of_medians() -> None:
    made = Rounds()
    for ours, peer in ((10.0, 5.0), (90.0, 30.0), (40.0, 40.0)):
        made.add("ours", "ours", "/s", ours)
        made.add("peer", "peer", "/s", peer)
        made.ratio("ratio", "ours ÷ peer", "ours", "peer")
    found = flat(made.figures)
    assert (found["ours"], found["ours_low"], found["ours_high"]) == (40, 10, 90)
    assert found["ratio"] == 2  # of 2, 3 and 1: a slow round slows both


def test_a_curve_is_the_figures_with_its_prefix_in_the_order_of_their_numbers() -> None:
    curve = CURVES[0]
    figures = {f"{curve.prefix}{one}": float(one) for one in (1_000, 20, 300)} | {f"{curve.prefix}20_low": 1.0}
    assert points_of(curve, figures) == [(20, 20.0), (300, 300.0), (1_000, 1_000.0)]
    assert curve.title in page(figures)


def test_a_group_that_there_is_not_is_refused(tmp_path: Path) -> None:
    assert main(only="nothing", folder=tmp_path) == 2
    assert not list(tmp_path.iterdir())


async def test_nobody_is_measured_while_an_agent_is_missing_and_who_it_is_is_told(tmp_path: Path) -> None:
    pbx = SimulatedPbx(Script(phones={"agent2": BUSY}))
    with pytest.raises(AgentsMissing, match=r"^agent2 is offline: phone-busy$"):
        async with Dialer.running(tmp_path, Pbx(port=await pbx.start()), Crowd(agents=3, contacts=1)):
            pass
    await pbx.stop()


async def test_who_loses_the_phone_while_measured_comes_back_and_is_counted(tmp_path: Path) -> None:
    pbx = SimulatedPbx()
    async with Dialer.running(tmp_path, Pbx(port=await pbx.start()), Crowd(agents=2, contacts=50)) as dialer:
        working = asyncio.create_task(dialer.work(1.0, hangs_up=True))
        await asyncio.sleep(0.2)
        pbx.hang_up(next(one.uid for one in pbx.live if "agent1" in one.name))
        assert (await working).joined > 0
        assert dialer.phones_lost == 1
        assert len([one for one in pbx.originates if one.phone == "agent1"]) == 2
        await dialer.stop()
    await pbx.stop()


async def test_phones_are_free_again_for_whoever_is_measured_next(tmp_path: Path) -> None:
    pbx = SimulatedPbx()
    where = Pbx(port=await pbx.start())
    async with Bare.connected(where) as bare, bare.agents(3) as legs:
        assert {one.leg for one in legs} == {one.uid for one in pbx.live}
    assert not pbx.live
    async with Dialer.running(tmp_path, where, Crowd(agents=3, contacts=1)) as dialer:
        assert len(pbx.live) == 3
        await dialer.stop()
        assert not pbx.live
    await pbx.stop()
