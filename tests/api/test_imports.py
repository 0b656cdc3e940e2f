"""Contact files over HTTP: given a campaign, when a file comes, then nothing is stored before its confirmation, and then
exactly what was foretold."""

import asyncio
import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from adapters.importer.limits import CHUNK_ROWS, LOOKED_AT_ROWS
from api.token import Role
from engine.actor import StoreAway
from engine.core.contact import Contact, ContactsAdded
from engine.core.directory import UseContactRefs
from engine.core.importing import ImportFinished, ImportStarted
from engine.core.message import AddContacts, Command
from engine.core.personal import Details, Person
from engine.core.used import UsedRefs
from eventstore.sealing import Sealing
from simulations.pbx import SimulatedPbx
from tests.adapters.importer.files import (
    CHECKED,
    CSV,
    OVER,
    XLSX,
    checked,
    confirm,
    csv_of,
    reached,
    stored,
    upload,
    xlsx_of,
)
from tests.api.asking import Untouched, ask, problem, token_of
from tests.world import World

N = [f"+57310582214{n}" for n in range(10)]
HEADER = ("ref", "number1", "name")
NONE = "0" * 32


@pytest.fixture
async def spring(service: World) -> World:
    await service.campaign("spring", [])
    return service


def people(service: World, campaign: str = "spring") -> Mapping[str, Contact]:
    return service.service.engine.campaigns[campaign].book.contacts.by_ref


def rows(*refs: int, name: str = "Ana") -> bytes:
    return csv_of(HEADER, *((f"spring:{n}", N[n], name) for n in refs))


async def events_of(service: World, id_: str) -> list[Any]:
    found: list[Any] = []
    async for batch in service.service.engine.store.read("campaign/spring"):
        found += [one.event for one in batch if one.stream == f"import/{id_}"]
    return found


# -- two steps --------------------------------------------------------------------------------------------------------


async def test_SG_10_TF_30_nothing_is_stored_before_the_confirmation(spring: World, pbx: SimulatedPbx) -> None:
    untouched = Untouched(spring, pbx)
    content = csv_of(HEADER, ("spring:1", N[1], "Ana"), ("spring:2", "12", "Ben"), ("spring:3", N[3], "Cy"))
    shown = await checked(spring, content, name="may.csv")
    untouched.check()
    assert people(spring) == {}
    assert shown["state"] == "invalid"
    assert shown["name"] == "may.csv"
    assert shown["errors"] == [{"row": 3, "column": "number1", "reason": "'12' has 2 digits"}]
    assert shown["counts"] == {"new": 2, "known": 0, "replaced": 0, "rejected": 1, "cancelled": 0}
    assert [one["name"] for one in shown["preview"]] == ["Ana", "Cy"]
    problem(await confirm(spring, shown["id"]), 409, "import-has-errors")
    untouched.check()
    assert (await confirm(spring, shown["id"], accept_errors=True)).status == 202
    over = await reached(spring, shown["id"], OVER)
    assert over["state"] == "done"
    assert over["result"] == {"added": 2, "known": 0, "replaced": 0, "rejected": 1, "cancelled": 0}
    assert list(people(spring)) == ["spring:1", "spring:3"]
    assert people(spring)["spring:3"].person.details == Details(numbers=(N[3],), name="Cy")


async def test_a_right_file_needs_no_acceptance(spring: World) -> None:
    shown = await checked(spring, rows(1, 2))
    assert (shown["state"], shown["errors"], shown["can_confirm"]) == ("valid", [], True)
    assert (await confirm(spring, shown["id"])).status == 202
    over = await reached(spring, shown["id"], OVER)
    assert over["result"]["added"] == 2
    again = await confirm(spring, shown["id"])  # the answer was lost: the same import
    assert (again.status, again.body["state"]) == (202, "done")
    assert len(people(spring)) == 2


@pytest.mark.parametrize("dies", [False, True])
async def test_people_of_a_long_file_who_were_sealed_ahead_are_in_the_log_as_any_others(
    spring: World, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    """given three chunks, one of them with a contact that is known, and a process that seals ahead or has died,
    then the log tells everybody's data
    """
    sealed: list[bool] = []

    class Watched(Sealing):
        async def seal(self, people: Sequence[Person]) -> None:
            if dies and sealed and self._process is not None and self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await super().seal(people)
            sealed.extend(one.seal is not None for one in people)

    monkeypatch.setattr("adapters.importer.storing.SEALED_FROM_ROWS", 1)
    monkeypatch.setattr(spring.service.importer, "_sealing", Watched)
    await stored(spring, csv_of(HEADER, ("spring:1500", N[0], "Eva")))
    sealed.clear()
    content = csv_of(HEADER, *((f"spring:{n}", f"+57310{n:07}", f"Ana {n}") for n in range(3 * CHUNK_ROWS)))
    over = await stored(spring, content)
    assert over["result"] == {"added": 2_999, "known": 1, "replaced": 0, "rejected": 0, "cancelled": 0}
    assert sealed == ([True] * 250 + [False] * 2_750 if dies else [True] * 3_000)
    store = spring.service.engine.store
    added = [one.event for batch in [b async for b in store.read("campaign/spring")] for one in batch]
    told = {new.ref: new.person.details for one in added if isinstance(one, ContactsAdded) for new in one.contacts}
    assert len(told) == 3_000
    assert {ref: one.person.details for ref, one in people(spring).items()} == told
    assert told["spring:2999"] == Details(numbers=("+573100002999",), name="Ana 2999")
    assert told["spring:1500"] == Details(numbers=(N[0],), name="Eva")


async def test_a_chunk_holds_the_loop_in_small_pieces(spring: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """given two chunks of new contacts, when they are compared, then refs are looked up in parts with the loop's other work
    between them
    """
    engine = spring.service.engine
    use_refs, claimed, looked_up = engine.use_refs, list[int](), Counter[int]()
    known, turns = UsedRefs.known, 0

    async def watched(command: UseContactRefs) -> dict[str, str]:
        claimed.append(len(command.refs))
        return await use_refs(command)

    def counted(self: UsedRefs, refs: Iterable[str]) -> list[str]:
        some = list(refs)
        if not claimed:  # to keep them for the campaign looks them up once more
            looked_up[turns] += len(some)
        return known(self, some)

    async def other_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(engine, "use_refs", watched)
    monkeypatch.setattr(UsedRefs, "known", counted)
    other = asyncio.create_task(other_work())
    try:
        over = await stored(spring, csv_of(HEADER, *((f"spring:{n}", f"+57310{n:07}", "Ana") for n in range(2_000))))
    finally:
        other.cancel()
    assert over["result"]["added"] == 2_000
    assert claimed == [1_000] * 2
    assert set(looked_up.values()) == {LOOKED_AT_ROWS}
    assert looked_up.total() >= 1_000


@pytest.mark.parametrize("carried_out", [True, False])
async def test_SG_17_a_command_that_is_asked_again_after_an_outage_counts_once(
    spring: World, monkeypatch: pytest.MonkeyPatch, carried_out: bool
) -> None:
    """given a contact who is known and one who is replaced, and a store that is away as they are added, whether or not
    that was decided before, then the counts are as without the outage
    """
    engine = spring.service.engine
    submit, asked = engine.submit, list[Command]()

    async def away_at_first(ref: str, command: Command) -> Any:
        if not isinstance(command, AddContacts):
            return await submit(ref, command)
        asked.append(command)
        if len(asked) > 1:
            return await submit(ref, command)
        if carried_out:
            await submit(ref, command)
        raise StoreAway("disk full")

    await stored(spring, rows(1, 2))
    monkeypatch.setattr(engine, "submit", away_at_first)
    content = csv_of(HEADER, *((f"spring:{n}", N[n], "Ana" if n == 1 else "Eva") for n in range(1, 6)))
    over = await stored(spring, content, mode="overwrite")
    assert asked == [asked[0], asked[0]]
    assert over["result"] == {"added": 3, "known": 1, "replaced": 1, "rejected": 0, "cancelled": 0}
    assert len(people(spring)) == 5


async def test_an_unreadable_file_cannot_be_confirmed(spring: World) -> None:
    shown = await checked(spring, b"ref,number1\n")
    assert (shown["state"], shown["can_confirm"]) == ("invalid", False)
    assert shown["reason"] == "the file has a header and no rows"
    problem(await confirm(spring, shown["id"], accept_errors=True), 409, "import-unreadable")
    none_right = await checked(spring, csv_of(HEADER, ("spring:1", "12", "")))
    problem(await confirm(spring, none_right["id"], accept_errors=True), 409, "import-unreadable")


async def test_an_import_is_in_the_log_with_who_and_what(spring: World) -> None:
    shown = await stored(spring, rows(1, 2), name="may.csv")
    started, finished = await events_of(spring, shown["id"])
    assert isinstance(started, ImportStarted)
    assert isinstance(finished, ImportFinished)
    assert (started.by, started.name, started.mode, started.rows) == ("admin", "may.csv", "add", 2)
    assert started.digest == shown["digest"]
    assert (finished.added, finished.rejected) == (2, 0)
    assert spring.service.engine.campaigns["spring"].book.imports == {}


async def test_all_errors_can_be_fetched_and_hold_no_formula(spring: World) -> None:
    content = csv_of(("ref", "number1", "=x"), *((f"spring:{n}", "1", "y" * 1_001) for n in range(1_200)))
    shown = await checked(spring, content)
    assert (shown["error_count"], len(shown["errors"])) == (2_400, 1_000)
    answer = await ask(spring, "GET", f"/v1/imports/{shown['id']}/errors.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    listed = list(csv.DictReader(io.StringIO(answer.raw.decode())))
    assert len(listed) == 2_400
    assert {one["column"] for one in listed} == {"number1", "'=x"}
    head = await ask(spring, "HEAD", f"/v1/imports/{shown['id']}/errors.csv")
    assert (head.status, head.raw) == (200, b"")


async def test_SG_17_counts_match_the_file_and_the_campaign(spring: World) -> None:
    """3,000 rows: known ones, wrong ones, one that another campaign has, one whose external id is taken, and new ones."""
    await spring.campaign("autumn", [["15550001"]])
    await stored(spring, csv_of(("ref", "number1", "external_id"), ("spring:1", N[1], "x1"), ("spring:2", N[2], "x2")))
    header = ("ref", "number1", "external_id")
    lines = [(f"spring:{n}", f"+57311{n:07}", "") for n in range(1, 2_991)]
    lines += [("autumn:1", N[4], ""), ("spring:5001", N[5], "x1")]
    lines += [(f"spring:{n}", "nonsense", "") for n in range(6_000, 6_008)]
    shown = await checked(spring, csv_of(header, *lines))
    assert shown["rows"] == 3_000
    assert shown["counts"] == {"new": 2_988, "known": 2, "replaced": 0, "rejected": 10, "cancelled": 0}
    assert {"row": 2_992, "column": "ref", "reason": "campaign 'autumn' used the contact ref autumn:1 first"} in shown[
        "errors"
    ]
    assert (await confirm(spring, shown["id"], accept_errors=True)).status == 202
    over = await reached(spring, shown["id"], OVER)
    assert over["result"] == {"added": 2_988, "known": 2, "replaced": 0, "rejected": 10, "cancelled": 0}
    assert sum(over["result"].values()) == over["rows"] == over["stored"] + 8
    assert over["error_count"] == 10
    assert len(people(spring)) == 2_990
    listed = (await ask(spring, "GET", f"/v1/imports/{shown['id']}/errors.csv")).raw.decode().splitlines()
    assert len(listed) == 11


# -- modes ------------------------------------------------------------------------------------------------------------


async def test_TF_31_SG_15_the_same_file_again_adds_and_changes_nothing(spring: World) -> None:
    await stored(spring, rows(1, 2, name="Ana"))
    again = await stored(spring, rows(1, 2, 3, name="Other"))
    assert again["result"] == {"added": 1, "known": 2, "replaced": 0, "rejected": 0, "cancelled": 0}
    details = [one.person.details for one in people(spring).values()]
    assert [one.name for one in details if one] == ["Ana", "Ana", "Other"]


async def dialled(service: World, ref: str) -> None:
    """The contact has an attempt behind it."""
    await service.admin.call("PUT", "/v1/agents/agent1", {"name": "One", "phone": "agent1"})
    await service.manager.call("PUT", "/v1/campaigns/spring/agents/agent1", {})
    await service.run("spring")
    agent = service.agent("agent1")
    held = (await agent.call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    assert held["contact"]["ref"] == ref
    body = {"token": held["token"]}
    await agent.call("POST", f"/v1/reservations/{held['id']}/dial", body)
    await service.told("spring", "call.ended")
    body["disposition"] = "no_contact"
    await agent.call("POST", f"/v1/reservations/{held['id']}/disposition", body)


async def test_SG_15_overwrite_replaces_before_the_first_dial_and_is_an_error_after(spring: World) -> None:
    await spring.manager.call(
        "POST", "/v1/campaigns/spring/contacts", [{"ref": "spring:1", "numbers": ["25550001"], "name": "Ana"}]
    )
    await stored(spring, rows(2, 3, name="Ana"))
    await dialled(spring, "spring:1")
    shown = await checked(spring, rows(1, 2, 3, 4, name="Eva"), mode="overwrite")
    assert shown["counts"] == {"new": 1, "known": 0, "replaced": 2, "rejected": 1, "cancelled": 0}
    assert shown["errors"] == [
        {"row": 2, "column": "ref", "reason": "contact spring:1 was dialled already: it can't be replaced any more"}
    ]
    assert (await confirm(spring, shown["id"], accept_errors=True)).status == 202
    over = await reached(spring, shown["id"], OVER)
    assert over["result"] == {"added": 1, "known": 0, "replaced": 2, "rejected": 1, "cancelled": 0}
    names = {one.ref: one.person.details.name for one in people(spring).values() if one.person.details}
    assert names == {"spring:1": "Ana", "spring:2": "Eva", "spring:3": "Eva", "spring:4": "Eva"}


async def test_SG_12_tags_of_a_replaced_contact_are_replaced_or_added(spring: World) -> None:
    for tag in ("vip", "new client"):
        assert (await ask(spring, "PUT", f"/v1/tags/{tag.replace(' ', '%20')}")).status == 201
    header = ("ref", "number1", "tags")
    await stored(spring, csv_of(header, ("spring:1", N[1], "vip"), ("spring:2", N[2], "vip")))
    await stored(spring, csv_of(header, ("spring:1", N[1], "new client")), mode="overwrite")
    await stored(spring, csv_of(header, ("spring:2", N[2], "new client")), mode="overwrite", tags="add")
    assert people(spring)["spring:1"].tags == ("new client",)
    assert people(spring)["spring:2"].tags == ("vip", "new client")


async def test_SG_13_close_open_leaves_only_the_new_file_to_be_worked(spring: World) -> None:
    await stored(spring, rows(1, 2, 3))
    shown = await checked(spring, rows(3, 4), mode="close_open")
    assert shown["counts"] == {"new": 1, "known": 1, "replaced": 0, "rejected": 0, "cancelled": 2}
    assert (await confirm(spring, shown["id"])).status == 202
    over = await reached(spring, shown["id"], OVER)
    assert over["result"] == {"added": 1, "known": 1, "replaced": 0, "rejected": 0, "cancelled": 2}
    states = {ref: str(one.status) for ref, one in people(spring).items()}
    assert states == {"spring:1": "cancelled", "spring:2": "cancelled", "spring:3": "waiting", "spring:4": "waiting"}


async def test_SG_16_full_sync_removes_others_only_when_confirmed_and_is_audited(
    spring: World, pbx: SimulatedPbx
) -> None:
    await stored(spring, rows(1, 2, 3))
    content = csv_of(HEADER, ("spring:1", N[1], "Eva"), ("spring:2", "12", "wrong"))
    shown = await checked(spring, content, mode="full_sync")
    assert shown["counts"] == {"new": 0, "known": 0, "replaced": 1, "rejected": 1, "cancelled": 1}
    untouched = Untouched(spring, pbx)
    problem(await confirm(spring, shown["id"], accept_errors=True), 409, "import-removal-unconfirmed")
    untouched.check()
    assert (await confirm(spring, shown["id"], accept_errors=True, confirm_removal=True)).status == 202
    over = await reached(spring, shown["id"], OVER)
    assert over["result"] == {"added": 0, "known": 0, "replaced": 1, "rejected": 1, "cancelled": 1}
    states = {ref: str(one.status) for ref, one in people(spring).items()}
    # 2 is in the file, if in a row that is wrong: it is not removed for that.
    assert states == {"spring:1": "waiting", "spring:2": "waiting", "spring:3": "cancelled"}
    started, finished = await events_of(spring, shown["id"])
    assert (started.mode, started.by, finished.cancelled) == ("full_sync", "admin", 1)


async def test_SG_16_what_is_dialled_already_is_no_error_of_a_full_sync(spring: World) -> None:
    await spring.manager.call("POST", "/v1/campaigns/spring/contacts", [{"ref": "spring:1", "numbers": ["25550001"]}])
    await dialled(spring, "spring:1")
    over = await stored(spring, rows(1, 2), mode="full_sync")
    assert over["result"] == {"added": 1, "known": 1, "replaced": 0, "rejected": 0, "cancelled": 0}


# -- columns that name things of the service --------------------------------------------------------------------------


async def test_SG_07_tags_must_exist(spring: World) -> None:
    content = csv_of(("ref", "number1", "tags"), ("spring:1", N[1], "vip"))
    assert (await checked(spring, content))["errors"] == [
        {"row": 2, "column": "tags", "reason": "there is no tag 'vip'"}
    ]
    assert (await ask(spring, "PUT", "/v1/tags/vip")).status == 201
    assert (await ask(spring, "PUT", "/v1/tags/vip")).status == 200
    assert (await ask(spring, "GET", "/v1/tags")).body["tags"] == ["vip"]
    assert (await stored(spring, content))["result"]["added"] == 1
    assert people(spring)["spring:1"].tags == ("vip",)
    assert (await ask(spring, "DELETE", "/v1/tags/vip")).status == 204
    problem(await ask(spring, "DELETE", "/v1/tags/vip"), 404, "unknown-tag")
    assert (await checked(spring, content))["state"] == "invalid"
    for name in ("a%2Cb", "%20a", "a%0Ab", "x" * 65):
        problem(await ask(spring, "PUT", f"/v1/tags/{name}"), 422, "invalid-request")


async def test_SG_14_the_agent_column_assigns(spring: World) -> None:
    await spring.admin.call("PUT", "/v1/agents/ann", {"name": "Ann", "phone": "ann"})
    content = csv_of(("ref", "number1", "agent"), ("spring:1", N[1], "ann"), ("spring:2", N[2], ""))
    shown = await stored(spring, content)
    assert people(spring)["spring:1"].agent == "ann"
    assert people(spring)["spring:1"].fixed
    assert people(spring)["spring:2"].agent == ""
    assert shown["warnings"] == ["contacts are assigned to agents who are not in the campaign: ann"]


async def test_SG_09_a_mapping_is_saved_by_name_and_used(spring: World) -> None:
    columns = {"Código": "ref", "Teléfono": "number1", "Cliente": "name"}
    content = csv_of(("Código", "Teléfono", "Cliente"), ("1", "573105822141", "Ana"))
    problem(await upload(spring, content, mapping="crm"), 404, "unknown-mapping")
    assert (await ask(spring, "PUT", "/v1/mappings/crm", {"columns": columns})).status == 201
    assert (await ask(spring, "PUT", "/v1/mappings/crm", {"columns": columns})).status == 200
    assert (await ask(spring, "GET", "/v1/mappings")).body["mappings"] == [{"name": "crm", "columns": columns}]
    assert (await ask(spring, "GET", "/v1/mappings/crm")).body["columns"] == columns
    await stored(spring, content, mapping="crm", region="CO", prefix="true", required="Cliente")
    assert people(spring)["spring:1"].person.details == Details(numbers=(N[1],), name="Ana")
    wrong = await ask(spring, "PUT", "/v1/mappings/crm", {"columns": {"A": "number77"}})
    problem(wrong, 422, "invalid-request")
    assert wrong.fields == ["columns"]
    problem(await ask(spring, "PUT", "/v1/mappings/a%20b", {"columns": columns}), 422, "invalid-request")
    assert (await ask(spring, "DELETE", "/v1/mappings/crm")).status == 204
    problem(await ask(spring, "DELETE", "/v1/mappings/crm"), 404, "unknown-mapping")
    problem(await ask(spring, "GET", "/v1/mappings/crm"), 404, "unknown-mapping")


async def test_SG_03_templates_can_be_downloaded(spring: World) -> None:
    plain = await ask(spring, "GET", "/v1/imports/template.csv")
    assert plain.headers["Content-Type"].startswith("text/csv")
    assert plain.raw.decode("utf-8-sig").startswith("ref,number1,")
    book = await ask(spring, "GET", "/v1/imports/template.xlsx")
    assert book.headers["Content-Type"] == XLSX
    assert book.headers["Content-Disposition"] == 'attachment; filename="contacts.xlsx"'
    assert (await checked(spring, book.raw, XLSX))["reason"] == "the file has a header and no rows"
    problem(await ask(spring, "GET", "/v1/imports/template.ods"), 404, "not-found")


async def test_SG_03_a_workbook_comes_as_a_csv_file_does(spring: World) -> None:
    content = xlsx_of(
        ("ref", "number1", "name"), ("spring:1", 573105822141, "Ana"), ("spring:2", "+573105822142", "Ben")
    )
    assert (await stored(spring, content, XLSX, region="CO"))["result"]["added"] == 2
    details = [one.person.details for one in people(spring).values()]
    assert [one.numbers for one in details if one] == [(N[1],), (N[2],)]


# -- who may, what can't be asked, how it ends ------------------------------------------------------------------------


async def test_imports_are_the_managers_and_a_bound_token_sees_its_campaigns_only(spring: World) -> None:
    await spring.campaign("autumn", [])
    bound = token_of(spring, Role.CAMPAIGN_MANAGER, "m", "autumn")
    problem(await upload(spring, rows(1), token=bound), 403, "forbidden")
    problem(await upload(spring, rows(1), token=token_of(spring, Role.SUPERVISOR, "s", "spring")), 403, "forbidden")
    shown = await checked(spring, rows(1))
    own = await upload(spring, csv_of(HEADER, ("autumn:1", N[1], "")), campaign="autumn", token=bound)
    assert own.status == 202
    assert own.headers["Location"] == f"/v1/imports/{own.body['id']}"
    await reached(spring, own.body["id"], CHECKED)
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/errors.csv", None),
        ("POST", "/confirm", {}),
        ("DELETE", "", None),
    ):
        answer = await ask(spring, method, f"/v1/imports/{shown['id']}{path}", body, token=bound)
        problem(answer, 403, "forbidden")
    listed = (await ask(spring, "GET", "/v1/imports", token=bound)).body["imports"]
    assert [one["campaign"] for one in listed] == ["autumn"]
    listed = (await ask(spring, "GET", "/v1/imports")).body["imports"]
    assert [one["campaign"] for one in listed] == ["autumn", "spring"]  # the newest first
    listed = (await ask(spring, "GET", "/v1/imports?campaign=spring")).body["imports"]
    assert [one["campaign"] for one in listed] == ["spring"]
    problem(await ask(spring, "PUT", "/v1/tags/vip", token=bound), 403, "forbidden")
    problem(await ask(spring, "PUT", "/v1/mappings/a", {"columns": {"A": "ref"}}, token=bound), 403, "forbidden")
    assert (await ask(spring, "GET", "/v1/tags", token=bound)).status == 200


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"mode": "append"}, "mode"),
        ({"region": "Colombia"}, "region"),
        ({"encoding": "ebcdic"}, "encoding"),
        ({"prefix": "yes"}, "prefix"),
        ({"tags": "forget"}, "tags"),
        ({"required": "name,,zone"}, "required"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"campaign": "no such ref"}, "campaign"),
        ({"delimiter": ","}, "delimiter"),
    ],
)
async def test_an_option_that_cannot_be_is_named(spring: World, options: dict[str, str], field: str) -> None:
    answer = await upload(spring, rows(1), **options)
    problem(answer, 422, "invalid-request")
    assert answer.fields == [field]
    assert (await ask(spring, "GET", "/v1/imports")).body == {"imports": [], "next": None}


async def test_what_is_not_there_or_of_another_kind(spring: World) -> None:
    problem(await upload(spring, rows(1), campaign="winter"), 404, "unknown-campaign")
    problem(await upload(spring, rows(1), "application/json"), 415, "unsupported-media-type")
    problem(await ask(spring, "GET", f"/v1/imports/{NONE}"), 404, "unknown-import")
    problem(await ask(spring, "POST", f"/v1/imports/{NONE}/confirm", {}), 404, "unknown-import")
    problem(await ask(spring, "DELETE", "/v1/imports/nothing"), 404, "unknown-import")


async def test_a_file_is_forgotten_when_it_is_cancelled_or_done(spring: World) -> None:
    folder = spring.service.importer._folder
    shown = await checked(spring, rows(1))
    kept = folder / shown["id"]
    assert (kept / "source").read_bytes() == rows(1)
    assert kept.stat().st_mode & 0o777 == 0o700
    assert (await ask(spring, "DELETE", f"/v1/imports/{shown['id']}")).status == 204
    assert (await reached(spring, shown["id"], OVER))["state"] == "cancelled"
    assert {path.name for path in kept.iterdir()}.isdisjoint({"source", "chunks", "refs"})
    problem(await confirm(spring, shown["id"]), 409, "import-not-ready")
    assert (await ask(spring, "DELETE", f"/v1/imports/{shown['id']}")).status == 204
    assert not kept.exists()
    problem(await ask(spring, "GET", f"/v1/imports/{shown['id']}"), 404, "unknown-import")
    done = await stored(spring, rows(1))
    assert {path.name for path in (folder / done["id"]).iterdir()}.isdisjoint({"source", "chunks", "refs"})
    assert len(people(spring)) == 1


async def test_an_import_ends_in_the_middle_when_it_is_not_wanted_any_more(spring: World) -> None:
    content = csv_of(HEADER, *((f"spring:{n}", f"+57310{n:07}", "") for n in range(20_000)))
    shown = await checked(spring, content)
    assert (await confirm(spring, shown["id"])).status == 202
    while not people(spring):
        await asyncio.sleep(0.005)
    assert (await ask(spring, "DELETE", f"/v1/imports/{shown['id']}")).status == 204
    over = await reached(spring, shown["id"], OVER)
    assert over["state"] == "cancelled"
    assert 0 < over["result"]["added"] < 20_000
    assert over["result"]["added"] == len(people(spring))
    _, finished = await events_of(spring, shown["id"])
    assert finished.added == len(people(spring))


async def test_a_campaign_that_goes_away_fails_its_import(spring: World) -> None:
    shown = await checked(spring, rows(1))
    assert (await ask(spring, "DELETE", "/v1/campaigns/spring")).status == 202
    # Nobody but who may see every campaign can see what belonged to one that is gone.
    assert (await confirm(spring, shown["id"])).status == 202
    over = await reached(spring, shown["id"], OVER)
    assert over["state"] == "failed"
    assert "spring" in over["reason"]
    assert CSV
