"""A token's share of the service: told with each answer, and refused beyond it without touching the others'."""

from pathlib import Path

import msgspec

from api.rate import MAX_BUCKETS, Buckets, Rate
from config.settings import Http
from simulations.pbx import SimulatedPbx
from tests.api.asking import ask, problem, token_of
from tests.conftest import ami_of
from tests.world import running, settings_for

NOW = 1_000_000


def test_a_bucket_empties_fills_with_time_and_never_overflows() -> None:
    buckets = Buckets(Rate(per_s=2, burst=3))
    assert [buckets.take("a", NOW).passes for _ in range(4)] == [True, True, True, False]  # type: ignore[union-attr]
    assert buckets.take("b", NOW).passes, "another token's is its own"  # type: ignore[union-attr]
    assert buckets.take("a", NOW + 499).passes is False  # type: ignore[union-attr]
    assert buckets.take("a", NOW + 501).passes  # type: ignore[union-attr]
    later = buckets.take("a", NOW + 3_600_000)
    assert later is not None
    assert (later.remaining, later.full_in_s) == (2, 1)
    assert later.headers(buckets.rate) == {"RateLimit-Policy": '"token";q=3;w=2', "RateLimit": '"token";r=2;t=1'}


def test_so_many_tokens_are_remembered_and_no_more() -> None:
    buckets = Buckets(Rate(per_s=1, burst=1))
    for one in range(MAX_BUCKETS + 10):
        buckets.take(str(one), NOW)
    assert len(buckets._left) == MAX_BUCKETS


def test_without_a_rate_there_is_no_limit() -> None:
    assert Buckets(Rate()).take("a", NOW) is None


async def test_beyond_its_share_a_token_is_answered_429_and_another_is_served(
    tmp_path: Path, pbx: SimulatedPbx
) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    http = msgspec.structs.replace(settings.http, requests_per_second=1, burst_requests=5)
    async with running(msgspec.structs.replace(settings, http=http)) as service:
        greedy, modest = token_of(service), token_of(service)
        answers = [await ask(service, "GET", "/v1/campaigns", token=greedy) for _ in range(12)]
        assert [one.status for one in answers[:5]] == [200] * 5
        refused = next(one for one in answers if one.status == 429)
        problem(refused, 429, "too-many-requests")
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.headers["RateLimit-Policy"] == '"token";q=5;w=5'
        assert refused.headers["RateLimit"].startswith('"token";r=0;')
        served = await ask(service, "GET", "/v1/campaigns", token=modest)
        assert (served.status, served.headers["RateLimit"]) == (200, '"token";r=4;t=1')


def test_the_settings_have_a_default_that_no_desk_meets() -> None:
    assert Http().requests_per_second >= 100
    assert Http().burst_requests >= 1_000
