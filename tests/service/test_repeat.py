"""Idempotency-Key across the death of the service: the first answer is given again by whoever serves next."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from api.token import Role
from config.settings import Retention
from simulations.engine_process import EngineProcess
from simulations.pbx import SimulatedPbx, User
from tests.adapters.importer.files import csv_of, reached, upload
from tests.api.asking import ask, problem
from tests.api.judge import judged_session
from tests.conftest import ami_of
from tests.world import running, settings_for

KEY = "6e9b2f0a-1c1d-4a0e-8a55-2f5e2d0f7c11"


async def test_TF_05_a_post_repeated_after_a_kill_gets_its_first_answer_and_is_done_once(
    tmp_path: Path, pbx: SimulatedPbx
) -> None:
    user = User()
    process = EngineProcess(tmp_path, {"ami": {"port": pbx.port, "username": user.name, "secret": user.secret}})
    await process.start()
    try:
        async with judged_session() as session:
            admin = process.client(session, Role.ADMINISTRATOR, "root")
            await admin.call("PUT", "/v1/campaigns/spring", {"name": "Spring"})
            rows = [{"ref": f"spring:{one}", "numbers": [f"1555{one:04}"]} for one in range(2_000)]
            path = "/v1/campaigns/spring/contacts"

            async def post(body: Any, key: str, subject: str = "root") -> tuple[int, bytes, bool]:
                """With a token of its own each time, as after a renewal."""
                headers = {
                    "Authorization": f"Bearer {process.token(Role.ADMINISTRATOR, subject)}",
                    "Idempotency-Key": key,
                }
                async with session.post(process.base + path, json=body, headers=headers) as answer:
                    return answer.status, await answer.read(), "Ringfold-Replayed" in answer.headers

            first = await post(rows, KEY)
            await process.kill()
            await process.start()
            again = await post(rows, KEY)
            other = await post(rows[:1], KEY)
            somebody = await post(rows[:1], KEY, "sam")
        assert (first[0], first[2]) == (200, False)
        assert msgspec.json.decode(first[1])["added"] == 2_000
        assert again == (200, first[1], True)  # not "known", as it would be if it were done again
        assert other[0] == 422
        assert (somebody[0], somebody[2]) == (200, False)
        assert msgspec.json.decode(somebody[1])["known"] == 1
    finally:
        await process.kill()


async def test_answers_go_after_their_day_and_with_who_is_erased(tmp_path: Path, pbx: SimulatedPbx) -> None:
    """An import's answer shows its first rows: it is kept no longer than it may be."""
    settings = msgspec.structs.replace(settings_for(tmp_path, ami_of(pbx)), retention=Retention(look_every_s=1))

    def kept() -> list[bytes]:
        with sqlite3.connect(tmp_path / "ringfold.db") as connection:
            return [bytes(row[0]) for row in connection.execute("select body from es_answer")]

    async with running(settings) as world:
        await world.campaign("spring", [["15550001"]])
        found = (await upload(world, csv_of(("ref", "number1"), ("spring:9", "573105822141")))).body["id"]
        confirm = f"/v1/imports/{found}/confirm"
        await reached(world, found, ("valid",))
        assert (await ask(world, "POST", confirm, {}, headers={"Idempotency-Key": KEY})).status == 202
        assert len(kept()) == 1
        await reached(world, found, ("done",))
        assert (await ask(world, "POST", "/v1/persons/erase", {"number": "573105822141"})).status == 200
        assert kept() == []
        problem(
            await ask(world, "POST", confirm, {}, headers={"Idempotency-Key": KEY}), 404, "unknown-import"
        )  # decided anew: nothing says any more what was answered

        cancel = "/v1/campaigns/spring/contacts/spring:1/cancel"
        assert (await ask(world, "POST", cancel, {}, headers={"Idempotency-Key": KEY})).status == 202
        with sqlite3.connect(tmp_path / "ringfold.db") as connection:
            connection.execute("update es_answer set at = at - 86400001")
        async with asyncio.timeout(15):
            while kept():
                await asyncio.sleep(0.1)
