"""Pages of other origins, HEAD and OPTIONS, against a running service."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import pytest

from api.app import ROUTES
from config.settings import Http, InvalidSettings, load
from simulations.engine_process import free_port
from simulations.pbx import SimulatedPbx
from tests.api.asking import ask, problem
from tests.api.test_roles import address
from tests.conftest import ami_of
from tests.world import World, running, settings_for

CONSOLE, OTHER = "https://console.example.com", "https://evil.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization, if-match"}


@pytest.fixture
async def opened(tmp_path: Path, pbx: SimulatedPbx) -> AsyncIterator[World]:
    http = Http(port=free_port(), cors_origins=(CONSOLE, "http://127.0.0.1:3000"))
    async with running(settings_for(tmp_path, ami_of(pbx), http=http)) as world:
        yield world


def allowing(headers: Mapping[str, str]) -> list[str]:
    return [name for name in headers if name.lower().startswith("access-control")]


async def test_by_itself_the_api_is_closed_to_pages(service: World) -> None:
    for origin in (CONSOLE, OTHER, "null"):
        for method, more in (("GET", {}), ("OPTIONS", PREFLIGHT)):
            answer = await ask(service, method, "/v1/campaigns", headers={"Origin": origin, **more})
            assert allowing(answer.headers) == []
            assert "Vary" not in answer.headers


async def test_a_page_of_a_named_origin_may_ask_first_and_then_read(opened: World) -> None:
    asked = await ask(opened, "OPTIONS", "/v1/campaigns/spring", token="", headers={"Origin": CONSOLE, **PREFLIGHT})
    assert asked.status == 204
    assert asked.headers["Access-Control-Allow-Origin"] == CONSOLE
    assert set(asked.headers["Access-Control-Allow-Methods"].split(", ")) >= {"GET", "PATCH", "DELETE"}
    allowed = asked.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "if-match", "if-none-match", "idempotency-key"} <= set(allowed)
    assert "Access-Control-Allow-Credentials" not in asked.headers
    for path, status in (("/v1/campaigns", 200), ("/v1/campaigns/spring", 404), ("/v1/events?wait=0", 200)):
        answer = await ask(opened, "GET", path, headers={"Origin": CONSOLE})
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == CONSOLE
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Vary"] == "Origin"
    refused = await ask(opened, "GET", "/v1/campaigns", token="", headers={"Origin": CONSOLE})
    problem(refused, 401, "unauthenticated")
    assert refused.headers["Access-Control-Allow-Origin"] == CONSOLE, "the page may read why"


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "*",
        "",
        "http://console.example.com",
        "https://console.example.com:8443",
        "https://console.example.com.evil.example",
        "https://CONSOLE.example.com",
        "https://a.console.example.com",
        "https://console.example.com/",
    ],
)
async def test_no_other_origin_is_let_in(opened: World, origin: str) -> None:
    for method, more in (("GET", {}), ("OPTIONS", PREFLIGHT)):
        answer = await ask(opened, method, "/v1/campaigns", headers={"Origin": origin, **more})
        assert allowing(answer.headers) == []
        assert answer.headers["Vary"] == "Origin", "a cache must not give one origin's answer to another"


@pytest.mark.parametrize("origin", ["*", "null", "console.example.com", "https://console.example.com/", "ftp://x", ""])
def test_a_setting_that_no_browser_would_send_is_refused(tmp_path: Path, origin: str) -> None:
    file = tmp_path / "ringfold.toml"
    file.write_text(f'[http]\ncors_origins = ["{origin}"]\n')
    with pytest.raises(InvalidSettings, match="cors_origins"):
        load(file, {})


async def test_options_tells_the_methods_of_every_address_without_a_token(service: World) -> None:
    methods: dict[str, set[str]] = {}
    for route in ROUTES:
        methods.setdefault(address(route), {"OPTIONS"}).add(route.method)
        if route.method == "GET":
            methods[address(route)].add("HEAD")
    for path, allowed in methods.items():
        answer = await ask(service, "OPTIONS", path, token="")
        assert (answer.status, answer.raw) == (204, b"")
        assert set(answer.headers["Allow"].split(", ")) == allowed, path
    problem(await ask(service, "OPTIONS", "/v1/nothing", token=""), 401, "unauthenticated")


async def test_a_head_is_its_get_without_the_body_at_every_address(service: World) -> None:
    await service.campaign("spring", [["15550001"]], agents=("agent1",))
    seen = 0
    for route in ROUTES:
        if route.method != "GET" or route.path in ("/metrics", "/v1/health"):
            continue
        got, head = [await ask(service, method, address(route)) for method in ("GET", "HEAD")]
        moving = {"Date", "RateLimit", "Transfer-Encoding"}  # the last is of the connection, not of what is shown
        moving |= {"Content-Length"} if got.status >= 400 else set()
        kept = [{name: one.headers[name] for name in one.headers if name not in moving} for one in (got, head)]
        assert (head.status, head.raw) == (got.status, b""), route.path
        assert kept[0] == kept[1], route.path
        seen += got.status == 200
    assert seen > 10


def test_the_operators_list_is_a_setting() -> None:
    assert Http().cors_origins == ()
    assert msgspec.convert({"cors_origins": [CONSOLE]}, Http).cors_origins == (CONSOLE,)
