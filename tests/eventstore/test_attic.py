"""What is put away on the disk: it comes back as it was, leaves no file behind, and a full disk is no reason to fail."""

import contextlib
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.core.blocks import AtticUnreadable
from eventstore import attic as module
from eventstore.attic import FileAttic


def test_what_was_put_away_comes_back_as_it_was(tmp_path: Path) -> None:
    attic = FileAttic(tmp_path)
    blocks = [bytes([number]) * (number * 100) for number in range(50)] + [os.urandom(5_000), b""]
    places = [attic.put(one) for one in blocks]
    assert None not in places
    assert len(set(places)) == len(places)
    assert [attic.get(place) for place in places if place is not None] == blocks


def test_other_threads_read_while_more_is_put_away(tmp_path: Path) -> None:
    attic = FileAttic(tmp_path)
    first = [(attic.put(block), block) for block in (os.urandom(3_000) for _ in range(40))]

    def read() -> bool:
        return all(place is not None and attic.get(place) == block for place, block in first for _ in range(20))

    with ThreadPoolExecutor(2) as pool:
        read_by = [pool.submit(read) for _ in range(2)]
        for _ in range(200):
            attic.put(os.urandom(3_000))
        assert all(one.result() for one in read_by)


def test_it_has_no_name_and_goes_with_its_last_reader(tmp_path: Path) -> None:
    attic = FileAttic(tmp_path / "made")
    assert not (tmp_path / "made").exists()  # nothing was put away yet
    attic.put(b"something")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "made").iterdir()) == []
    assert len(open_below(tmp_path)) == 1
    del attic
    assert open_below(tmp_path) == []


@pytest.mark.parametrize("at", [0, 1_000, -1])
def test_what_is_not_as_it_was_is_told(tmp_path: Path, at: int) -> None:
    attic = FileAttic(tmp_path)
    place = attic.put(os.urandom(2_000))
    assert place is not None
    ((fd, _, size),) = open_below(tmp_path)
    at %= size
    os.pwrite(fd, bytes([os.pread(fd, 1, at)[0] ^ 1]), at)
    with pytest.raises(AtticUnreadable, match="a page of calls that was put away"):
        attic.get(place)


def test_some_of_the_disk_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attic = FileAttic(tmp_path)
    place = attic.put(b"something")
    assert place is not None
    with monkeypatch.context() as patch:
        patch.setattr(module, "LEAST_FREE_BYTES", 1 << 60)
        assert attic.put(b"more") is None
        assert attic.get(place) == b"something"
    assert attic.put(b"more") is not None


def test_where_no_file_can_be_made_nothing_is_taken_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    attic = FileAttic(tmp_path / "folder")
    assert attic.put(b"something") is None
    (tmp_path / "folder").unlink()
    place = attic.put(b"something")
    assert place is not None
    assert attic.get(place) == b"something"


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """No file may have more than 10,000 bytes: as a full disk is, for a file that grows. No longer than it must be so: pytest
    writes to one, too, before a fixture ends."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_takes_no_more_and_keeps_what_it_has(tmp_path: Path) -> None:
    attic = FileAttic(tmp_path)
    blocks = [os.urandom(3_000) for _ in range(5)]
    with small_files():
        places = [attic.put(one) for one in blocks]
        small = attic.put(b"small")
    assert [place is None for place in places] == [False, False, False, True, True]
    assert small is not None
    assert [attic.get(place) for place in places if place is not None] == blocks[:3]


class Opened(NamedTuple):
    fd: int
    target: str
    size: int


def open_below(folder: Path) -> list[Opened]:
    """Files below a folder that this process has open, also such as have no name there."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that looks
            target = one.readlink()
            if target.is_relative_to(folder):
                found.append(Opened(int(one.name), str(target), one.stat().st_size))
    return found
