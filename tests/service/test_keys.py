"""Keys changed at the terminal, under a service that runs on."""

import json
from pathlib import Path

import aiohttp

from api.token import KeyRing
from simulations.engine_process import EngineProcess
from simulations.pbx import Script, SimulatedPbx

ADMIN = ("--role", "administrator", "--subject", "admin", "--ttl-s", "600")


async def statuses(process: EngineProcess, *words: str) -> dict[str, str]:
    """Of the keys by id, as the command tells them."""
    ended, told = await process.command("key", *words)
    assert ended == 0, told
    return {line.split()[0]: line.split()[1] for line in told.splitlines()}


async def test_keys_follow_one_another_under_a_running_service(tmp_path: Path) -> None:
    """Given a service that runs, when its key is exchanged by commands, then old and new tokens are taken as they say."""
    pbx = SimulatedPbx(Script(), seed=1, time_scale=0.05, login_penalty_ms=0)
    ami = {"port": await pbx.start(), "username": pbx.username, "secret": pbx.secret}
    process = EngineProcess(tmp_path / "engine", {"ami": ami})
    await process.start()
    try:
        async with aiohttp.ClientSession() as session:

            async def status(token: str) -> int:
                headers = {"Authorization": f"Bearer {token}"}
                async with session.get(f"{process.base}/v1/campaigns", headers=headers) as answer:
                    return answer.status

            [first] = await statuses(process, "list")
            _, before = await process.command("token", *ADMIN)
            assert await status(before.strip()) == 200
            second = next(kid for kid in await statuses(process, "add") if kid != first)
            assert await statuses(process, "promote", second) == {first: "verifying", second: "signing"}
            _, after = await process.command("token", *ADMIN)
            assert (await status(before.strip()), await status(after.strip())) == (200, 200)
            ended, told = await process.command("key", "retire", first)
            assert (ended, "may not have ended" in told) == (2, True)
            assert await statuses(process, "retire", first, "--at-once") == {second: "signing"}
            assert (await status(before.strip()), await status(after.strip())) == (401, 200)
            audit = [line for line in process.log_path.read_text().splitlines() if '"audit":true' in line]
            assert [json.loads(line)["reason"] for line in audit] == ["no such key"]
            assert before.strip()[20:60] not in process.log_path.read_text()
    finally:
        await process.stop()
        await pbx.stop()


async def test_tokens_are_taken_back_at_the_terminal(tmp_path: Path) -> None:
    """Given a service that runs, and its key file, then a subject's tokens and one token are refused from then on."""
    pbx = SimulatedPbx(Script(), seed=1, time_scale=0.05, login_penalty_ms=0)
    ami = {"port": await pbx.start(), "username": pbx.username, "secret": pbx.secret}
    process = EngineProcess(tmp_path / "engine", {"ami": ami})
    ended, told = await process.command("revoke", "--subject", "anna")
    assert (ended, "doesn't answer" in told) == (1, True), told
    await process.start()
    try:
        async with aiohttp.ClientSession() as session:

            async def statuses_of(*tokens: str) -> list[int]:
                found = []
                for one in tokens:
                    headers = {"Authorization": f"Bearer {one}"}
                    async with session.get(f"{process.base}/v1/campaigns", headers=headers) as answer:
                        found.append(answer.status)
                return found

            async def made(subject: str) -> str:
                return (await process.command("token", "--role", "administrator", "--subject", subject))[1].strip()

            anna, bo = await made("anna"), await made("bo")
            assert await statuses_of(anna, bo) == [200, 200]
            ended, told = await process.command("revoke", "--subject", "anna")
            assert (ended, "subject anna  by operator" in told) == (0, True), told
            assert await statuses_of(anna, bo) == [401, 200]
            audit = [json.loads(one) for one in process.log_path.read_text().splitlines() if '"audit":true' in one]
            assert [one["reason"] for one in audit] == ["revoked"]
            keys = KeyRing.open(process.folder / "tokens.key")
            ended, told = await process.command("revoke", "--jti", keys.verify(bo).jti, "--token", await made("chief"))
            assert (ended, f"token {keys.verify(bo).jti}  by chief" in told) == (0, True), told
            assert await statuses_of(anna, bo) == [401, 401]
            _, listed = await process.command("revoke")
            assert len(listed.splitlines()) == 2
            ended, told = await process.command("revoke", "--subject", "anna", "--token", bo)
            assert (ended, "401" in told) == (1, True), told
            ended, told = await process.command("revoke", "--subject", "anna", "--jti", "0" * 32)
            assert (ended, "either" in told) == (2, True), told
    finally:
        await process.stop()
        await pbx.stop()


async def test_a_key_file_that_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    process = EngineProcess(tmp_path / "engine", {"ami": {"secret": "none"}})
    await process.command("key", "list")
    (process.folder / "tokens.key").write_text("what once was a key")
    for words in (("token", *ADMIN), ("key", "list")):
        ended, told = await process.command(*words)
        assert (ended, told.count("\n")) == (2, 1), told
        assert "tokens.key is not a file of keys" in told
