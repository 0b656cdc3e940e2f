"""Keys follow one another without a restart, and without a token that is refused before its end."""

import json
import multiprocessing
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyseto
import pytest
from pyseto import Key
from pyseto.token import Token
from structlog.testing import capture_logs

from api.token import KeyRing, Role, TokenRefused, keyfile
from api.token.keyfile import MAX_KEYS, KeyFile, KeyStatus
from tests.api.asking import ask
from tests.world import World

LONGEST_S = 3_600
EDITORS, ADDED_EACH = 4, 4


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "tokens.key"
    keyfile.make_unless_there(found, now_ms())
    return found


def add(path: Path) -> str:
    """A further key; its id."""
    return keyfile.edit(path, lambda found: found.with_one(now_ms())).keys[-1].kid


def promote(path: Path, kid: str, now: int = 0) -> KeyFile:
    return keyfile.edit(path, lambda found: found.promoting(kid, now or now_ms(), LONGEST_S))


def retire(path: Path, kid: str, *, later_s: int = 0, at_once: bool = False) -> KeyFile:
    return keyfile.edit(path, lambda found: found.without(kid, now_ms() + later_s * 1_000, at_once=at_once))


def minted(keys: KeyRing) -> str:
    return keys.mint(Role.CRM, "crm", ttl_s=60)


def kid_of(token: str) -> str:
    footer = Token.new(token).footer
    assert isinstance(footer, bytes)
    return str(json.loads(footer)["kid"])


def test_tokens_of_both_keys_are_taken_while_one_follows_the_other(path: Path) -> None:
    """Given a ring that stays open, when a key is added, promoted, and the former retired, then it keeps up at once."""
    keys = KeyRing.open(path)
    first, before = keys.kid, minted(keys)
    second = add(path)
    assert [(one.kid, one.status.value) for one in keys.published()] == [(first, "signing"), (second, "published")]
    assert kid_of(minted(keys)) == first
    promote(path, second)
    after = minted(keys)
    assert (kid_of(before), kid_of(after)) == (first, second)
    assert {one.kid: one.status.value for one in keys.published()} == {first: "verifying", second: "signing"}
    assert (keys.verify(before).subject, keys.verify(after).subject) == ("crm", "crm")
    retire(path, first, at_once=True)
    with pytest.raises(TokenRefused, match="no such key"):
        keys.verify(before)
    assert keys.verify(after).subject == "crm"
    assert [one.kid for one in keys.published()] == [second]


def test_a_key_that_has_signed_checks_tokens_until_its_last_has_ended_and_no_longer(path: Path) -> None:
    keys = KeyRing.open(path)
    first, token = keys.kid, minted(keys)
    long_ago = now_ms() - LONGEST_S * 1_000
    promote(path, add(path), now=long_ago + 60_000)
    assert keys.verify(token).subject == "crm"
    [kept] = [one for one in keys.published() if one.kid == first]
    assert kept.not_after == long_ago + 60_000 + LONGEST_S * 1_000
    old = keyfile.read(path).named(first)
    ended = msgspec.structs.replace(old, not_after=now_ms())
    keyfile.edit(path, lambda found: KeyFile(tuple(ended if one.kid == first else one for one in found.keys)))
    with pytest.raises(TokenRefused, match="no such key"):
        keys.verify(token)
    assert first not in [one.kid for one in keys.published()]
    assert [one.kid for one in retire(path, first).keys] == [keys.kid]


def test_what_would_lock_somebody_out_is_refused(path: Path) -> None:
    first = keyfile.read(path).signing.kid
    second = add(path)
    with pytest.raises(ValueError, match="promote another one first"):
        retire(path, first, at_once=True)
    promote(path, second)
    with pytest.raises(ValueError, match="may not have ended"):
        retire(path, first)
    with pytest.raises(ValueError, match="has signed before"):
        promote(path, first)
    with pytest.raises(ValueError, match="0 keys"):
        promote(path, "k4.pid.none")
    with pytest.raises(ValueError, match="2 keys"):
        promote(path, "k4.pid.")
    assert [one.kid for one in retire(path, first, later_s=LONGEST_S).keys] == [second]
    for _ in range(MAX_KEYS - 1):
        add(path)
    with pytest.raises(ValueError, match="retire some"):
        add(path)


def test_the_file_is_its_owners_alone_whole_and_alone_in_its_folder(path: Path) -> None:
    kid = add(path)
    promote(path, kid)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert "k4.secret" not in repr(keyfile.read(path))
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        KeyRing.open(path)


def _add_some(path: Path) -> None:
    for _ in range(ADDED_EACH):
        add(path)


def test_editors_at_the_same_time_lose_nothing(path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    editors = [processes.Process(target=_add_some, args=(path,)) for _ in range(EDITORS)]
    for one in editors:
        one.start()
    for one in editors:
        one.join()
    assert [one.exitcode for one in editors] == [0] * EDITORS
    assert len({one.kid for one in keyfile.read(path).keys}) == 1 + EDITORS * ADDED_EACH


def swapped(file: dict[str, Any]) -> dict[str, Any]:
    """Each secret under the other's id."""
    one, two = file["keys"]
    return {"keys": [{**one, "secret": two["secret"]}, {**two, "secret": one["secret"]}]}


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "empty": lambda _: {},
    "no keys": lambda _: {"keys": []},
    "two that sign": lambda file: {"keys": [{**one, "status": "signing"} for one in file["keys"]]},
    "none that signs": lambda file: {"keys": [{**one, "status": "published"} for one in file["keys"]]},
    "one twice": lambda file: {"keys": [*file["keys"], file["keys"][1]]},
    "secrets exchanged": swapped,
    "a secret that is none": lambda file: {"keys": [{**file["keys"][0], "secret": "k4.secret.AAAA"}]},
    "a public key for a secret": lambda file: {
        "keys": [{**file["keys"][0], "secret": file["keys"][0]["secret"].replace("secret", "public")}]
    },
    "a field too many": lambda file: {**file, "more": 1},
    "an unknown status": lambda file: {"keys": [{**one, "status": "new"} for one in file["keys"]]},
}


@pytest.mark.parametrize("what", [*BROKEN, "cut off", "away", "readable by others"])
def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_once(path: Path, what: str) -> None:
    """Given a running ring, when its file is spoiled, then it goes on with its keys; once mended, with those of the file."""
    add(path)
    keys, whole = KeyRing.open(path), path.read_bytes()
    token = minted(keys)
    if what == "away":
        path.unlink()
    elif what == "readable by others":
        path.chmod(0o644)
    else:
        path.write_bytes(whole[:-20] if what == "cut off" else msgspec.json.encode(BROKEN[what](json.loads(whole))))
    with capture_logs() as lines:
        assert (keys.verify(token).subject, keys.verify(minted(keys)).subject) == ("crm", "crm")
    assert [one["log_level"] for one in lines] == ["error"]
    assert "secret.AA" not in repr(lines)
    if what != "away":
        with pytest.raises((ValueError, OSError)):
            KeyRing.open(path)
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_bytes(whole)
    third = add(path)
    assert third in [one.kid for one in keys.published()]


async def test_what_is_published_checks_our_tokens(service: World) -> None:
    """Given a rotation, when somebody else checks a token with the published key of its id, then it holds."""
    keys = service.service.keys
    path = Path(service.service.settings.tokens.key_file)
    before = keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60)
    promote(path, add(path))
    answer = await ask(service, "GET", "/.well-known/paseto-keys", token="")
    assert "secret" not in answer.raw.decode()
    assert service.service.keys.signing.stored.secret.removeprefix("k4.secret.")[:40] not in answer.raw.decode()
    told = answer.body["keys"]
    assert {one["status"]: one["not_after"] is None for one in told} == {"verifying": False, "signing": True}
    by_id = {one["kid"]: Key.from_paserk(one["key"]) for one in told}
    for token in (before, minted(keys)):
        key = by_id[kid_of(token)]
        assert key.to_paserk_id() == kid_of(token)
        payload = pyseto.decode(key, token).payload
        assert isinstance(payload, bytes)
        assert json.loads(payload)["aud"] == "ringfold"
    assert {one.status for one in keys.published()} == {KeyStatus.SIGNING, KeyStatus.VERIFYING}
