"""A CRM that has bound its own ids."""

import pytest

from api.token import Role
from tests.api.asking import contacts
from tests.world import World


@pytest.fixture
async def crm(service: World) -> str:
    """A running campaign that the external system `suite` knows by its own ids, and that system's token."""
    await service.campaign("spring", [], agents=("agent1", "agent2"))
    await contacts(
        service,
        {"ref": "spring:1", "numbers": ["15550001"], "external_id": "person-1"},
        {"ref": "spring:2", "numbers": ["15550002"], "external_id": "person-2"},
    )
    for kind, name, ref in (("campaign", "C1", "spring"), ("agent", "U1", "agent1"), ("agent", "U2", "agent2")):
        await service.manager.call("PUT", f"/v1/external/suite/{kind}/{name}", {"ref": ref})
    await service.run("spring")
    return service.service.keys.mint(Role.CRM, "suite", 600, agents=("agent1",), systems=("suite",))
