"""A real PostgreSQL for tests: one server a session, one database a test, made from a template in milliseconds."""

import itertools
import os
from collections.abc import Iterator

import asyncpg
import pytest

from simulations.postgres import NotInstalled, Postgres

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The server's URL without a database. `DATABASE_URL` names one that is there already."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given.rpartition("/")[0]
        return
    try:
        with Postgres.running() as server:
            yield server.url.rpartition("/")[0]
    except NotInstalled as reason:
        pytest.skip(str(reason))


@pytest.fixture
async def postgres_url(postgres_server: str) -> str:
    """An empty database of the test's own."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    connection = await asyncpg.connect(f"{postgres_server}/postgres")
    try:
        await connection.execute(f"create database {name}")
    finally:
        await connection.close()
    return f"{postgres_server}/{name}"
