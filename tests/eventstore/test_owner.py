"""Given an owner's name, when another process asks, then it is dead only where the kernel of the same machine says so."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore import owner
from eventstore.owner import APART, PARTS, is_dead, this_process

NAMED = "from eventstore.owner import this_process; print(this_process(), flush=True); import time; time.sleep(60)"


class Bearer:
    """A process with a name of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", NAMED], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.name = self.process.stdout.readline().strip()


@pytest.fixture
def bearer() -> Iterator[Bearer]:
    one = Bearer()
    yield one
    one.process.kill()
    one.process.communicate()


def altered(name: str, place: int, value: str) -> str:
    parts = name.split(APART)
    parts[place] = value
    return APART.join(parts)


def test_every_name_is_its_own_and_who_runs_is_not_dead(bearer: Bearer) -> None:
    names = {this_process(), this_process(), bearer.name}
    assert len(names) == 3
    assert {name.count(APART) for name in names} == {PARTS - 1}
    assert not any(map(is_dead, names))


def test_who_is_frozen_is_not_dead(bearer: Bearer) -> None:
    bearer.process.send_signal(signal.SIGSTOP)
    assert not is_dead(bearer.name)


def test_who_was_killed_is_dead_before_anybody_has_taken_notice_and_afterwards(bearer: Bearer) -> None:
    bearer.process.kill()
    os.waitid(os.P_PID, bearer.process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(bearer.name)  # a zombie
    bearer.process.wait()
    assert is_dead(bearer.name)


def test_a_number_that_another_process_has_by_now_is_no_life(bearer: Bearer) -> None:
    assert is_dead(altered(bearer.name, 4, "1"))


@pytest.mark.parametrize("place", [0, 1, 2], ids=["host", "boot", "namespace"])
def test_of_who_ran_elsewhere_nothing_is_known(bearer: Bearer, place: int) -> None:
    bearer.process.kill()
    bearer.process.wait()
    assert is_dead(bearer.name)
    assert not is_dead(altered(bearer.name, place, "other"))


@pytest.mark.parametrize("number", ["", "0", "-1", "x", "٣", "1.0"])
def test_a_name_with_no_number_proves_nothing(number: str) -> None:
    assert not is_dead(altered(this_process(), 3, number))


@pytest.mark.parametrize("name", ["", "f00", "bench", "a/b", "/////", "a/b/c/d/e/f/g", "transfer 0011"])
def test_other_names_prove_nothing(name: str) -> None:
    assert not is_dead(name)


def test_who_may_not_be_looked_at_may_live(bearer: Bearer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the kernel hides other users' processes."""
    monkeypatch.setattr(owner, "_see", lambda _: None)
    assert not is_dead(bearer.name)


def test_whose_first_thread_has_ended_may_have_others(bearer: Bearer, monkeypatch: pytest.MonkeyPatch) -> None:
    bearer.process.kill()
    os.waitid(os.P_PID, bearer.process.pid, os.WEXITED | os.WNOWAIT)
    monkeypatch.setattr(owner, "_threads", lambda _: 2)
    assert not is_dead(bearer.name)


def test_where_the_kernel_tells_nothing_names_are_random_and_prove_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "PROC", tmp_path)
    name = this_process()
    assert name != this_process()
    assert APART not in name
    assert not is_dead(name)
    assert not is_dead(f"//{APART * 3}")
