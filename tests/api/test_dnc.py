"""Do-not-call lists over HTTP."""

import asyncio

import pytest

from api.token import Role
from simulations.client import Problem
from tests.api.asking import ask, problem, token_of
from tests.service.test_preview import act, take
from tests.world import World


async def test_EX_11_a_listed_number_is_refused_with_the_rule_and_told(service: World) -> None:
    await service.campaign("spring", [["+15550001"]])
    await service.run("spring")
    listed = await service.admin.call("POST", "/v1/dnc", {"numbers": ["1 555 0001", "+15550009"]})
    assert (listed["listed"], listed["numbers"], listed["version"]) == (2, 2, 1)
    agent = service.agent("agent1")
    held = await take(agent)
    with pytest.raises(Problem) as error:
        await act(agent, held, "dial")
    assert (error.value.status, error.value.code) == (409, "dial-forbidden")
    told = (await service.told("spring", "contact.dial_refused", contact="spring:1"))["data"]
    assert (told["rule"], told["list_version"], told["number"]) == ("dnc", 1, "+15550001")
    await service.admin.call("DELETE", "/v1/dnc", {"numbers": ["+15550001"]})
    assert (await service.admin.call("GET", "/v1/dnc?number=%2B15550001"))["listed"] is False
    assert (await act(agent, held, "dial"))["call_id"]


async def test_EX_11_a_disposition_lists_the_contacts_numbers_everywhere(service: World) -> None:
    never = [{"code": "never", "dnc": "global"}]
    await service.campaign("spring", [["15550001", "15550002"]], dispositions=never, dispose_without_attempt=True)
    await service.campaign("summer", [["+15550002"]], agents=("agent2",))
    await service.run("spring")
    await service.run("summer")
    agent, other = service.agent("agent1"), service.agent("agent2")
    await act(agent, await take(agent), "disposition", disposition="never")
    async with asyncio.timeout(5):
        while (await service.admin.call("GET", "/v1/dnc"))["numbers"] < 2:
            await asyncio.sleep(0.02)
    with pytest.raises(Problem) as error:
        await act(other, await take(other, "agent2"), "dial")
    assert error.value.code == "dial-forbidden"


async def test_a_campaigns_own_list_is_its_managers_and_the_global_one_is_not(service: World) -> None:
    await service.campaign("spring", [])
    bound = token_of(service, Role.CAMPAIGN_MANAGER, "m", "spring")
    body = {"numbers": ["+15550001"], "until": "2030-01-01T00:00:00Z"}
    assert (await ask(service, "POST", "/v1/campaigns/spring/dnc", body, token=bound)).body["listed"] == 1
    problem(await ask(service, "POST", "/v1/dnc", body, token=bound), 403, "forbidden")
    past = {"numbers": ["+15550001"], "until": "2020-01-01T00:00:00Z"}
    problem(await ask(service, "POST", "/v1/campaigns/spring/dnc", past, token=bound), 422, "invalid-request")
    wrong = await ask(service, "POST", "/v1/dnc", {"numbers": ["+15550001", "call me"]})
    assert wrong.fields == ["numbers[1]"]
    assert (await service.admin.call("GET", "/v1/dnc"))["numbers"] == 0


async def test_EX_11_a_number_is_looked_up_with_the_list_that_forbids_it(service: World) -> None:
    await service.campaign("spring", [])
    path = "/v1/campaigns/spring/dnc"
    await service.admin.call("POST", "/v1/dnc", {"numbers": ["+15550001"]})
    dated = {"numbers": ["+15550002"], "until": "2030-01-01T00:00:00+01:00"}
    await service.admin.call("POST", path, dated)
    assert await service.manager.call("GET", f"{path}?number=15550001") == {
        "listed": True,
        "list": "global",
        "until": None,
        "numbers": 1,
        "version": 1,
    }
    own = await service.manager.call("GET", f"{path}?number=15550002")
    assert (own["list"], own["until"]) == ("campaign/spring", "2029-12-31T23:00:00.000Z")
    assert (await service.manager.call("GET", "/v1/dnc?number=15550002"))["listed"] is False
    problem(await ask(service, "GET", "/v1/dnc?number=call%20me"), 422, "invalid-request")


async def test_many_numbers_are_taken_a_thousand_at_a_time_and_none_if_one_is_wrong(service: World) -> None:
    numbers = [f"+1555{one:07}" for one in range(12_500)]  # large enough to be read aside
    wrong = await ask(service, "POST", "/v1/dnc", {"numbers": [*numbers, "call me"]})
    problem(wrong, 422, "invalid-request")
    assert wrong.fields == ["numbers[12500]"]
    assert (await service.admin.call("GET", "/v1/dnc"))["numbers"] == 0
    listed = await service.admin.call("POST", "/v1/dnc", {"numbers": numbers})
    assert listed == {"listed": 12_500, "known": 0, "numbers": 12_500, "version": 13}
    again = await service.admin.call("POST", "/v1/dnc", {"numbers": numbers})
    assert again == {"listed": 0, "known": 12_500, "numbers": 12_500, "version": 13}
    assert (await service.admin.call("DELETE", "/v1/dnc", {"numbers": numbers}))["numbers"] == 0
