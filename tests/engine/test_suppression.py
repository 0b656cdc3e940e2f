"""Numbers that a disposition puts on a do-not-call list: none lost, none forbidden late, none put back unasked."""

import asyncio

import pytest

from engine.core.campaign import DEFAULT_DISPOSITIONS, Disposition, DncList
from engine.core.directory import UnlistNumbers
from engine.core.message import DisposeAll, EraseContacts
from engine.core.refusal import Refused
from engine.limits import Limits
from tests.engine.shell import Shell, new_shell, started, until

NEVER = (*DEFAULT_DISPOSITIONS, Disposition(code="never", dnc=DncList.GLOBAL))


async def forbid(shell: Shell, *contacts: str, ref: str = "c1") -> None:
    command = DisposeAll(at=shell.clock.now, by="m", agent="", contacts=contacts, disposition="never")
    assert await shell.engine.submit(ref, command) == {}


def listed(shell: Shell) -> set[str]:
    return set(shell.engine.claims.standing.lists.get("global", {}))


async def test_EX_11_many_numbers_at_once_find_room_or_wait_for_it() -> None:
    shell = await new_shell(Limits(mailbox_messages=5))
    async with started(shell):
        await shell.create(dispositions=NEVER, dispose_without_attempt=True)
        refs = tuple(f"k{place}" for place in range(40))
        await shell.engine.add_contacts("c1", shell.contacts(*refs))

        await forbid(shell, *refs)

        await until(lambda: len(listed(shell)) == 40)
        assert not shell.engine.failed.done()


async def test_EX_11_a_number_is_listed_though_its_person_is_erased_the_next_moment() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.create(dispositions=NEVER, dispose_without_attempt=True)
        await shell.engine.add_contacts("c1", shell.contacts("k0"))
        erase = EraseContacts(at=shell.clock.now, by="m", contacts=("k0",))
        await asyncio.gather(forbid(shell, "k0"), shell.engine.submit("c1", erase))
        assert shell.book().contacts.by_ref["k0"].numbers == ()
        await until(lambda: listed(shell) == {"5550"})


async def test_EX_11_a_number_taken_off_the_list_stays_off_it_after_a_restart() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.create(dispositions=NEVER, dispose_without_attempt=True)
        await shell.engine.add_contacts("c1", shell.contacts("k0"))
        await forbid(shell, "k0")
        await until(lambda: listed(shell) == {"5550"})
        await shell.settled()
        off = UnlistNumbers(at=shell.clock.now, by="m", list="global", numbers=("5550",))
        assert await shell.engine.direct(off) == 1

    again = shell.again()
    async with started(again):
        await asyncio.sleep(0.05)
        assert listed(again) == set()


async def test_EX_11_a_number_is_forbidden_from_the_disposition_on() -> None:
    """Also while the list has yet to hear of it, and when the process ended before it did."""
    shell = await new_shell()
    async with started(shell):
        await shell.create(dispositions=NEVER, dispose_without_attempt=True)
        await shell.engine.add_contacts("c1", shell.contacts("k1", "k2"))
        shell.engine.direct = lambda _: asyncio.Event().wait()  # type: ignore[assignment,method-assign]
        await forbid(shell, "k1", "k2")
        assert listed(shell) == set()
        del shell.engine.direct
        await shell.running("c2")

        with pytest.raises(Refused, match="do-not-call"):
            await shell.dial("c2")

    again = shell.again()
    async with started(again):
        await until(lambda: listed(again) == {"5550", "5551"})
