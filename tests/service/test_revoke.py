"""Given something unexpected, `ringfold revoke` says so in words, and never looks as if it had taken anything back."""

import asyncio

import pytest
from aiohttp import web

from config.settings import Http
from engine.command.revoke import revoke
from engine.command.terminal import address_here


@pytest.mark.parametrize(("subject", "jti"), [("", None), (None, ""), (" ", None)])
def test_an_empty_name_is_refused(subject: str | None, jti: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a variable that wasn't set, then it is no list, and no success."""
    with pytest.raises(SystemExit) as ended:
        revoke(token="t", url="http://127.0.0.1:1", subject=subject, jti=jti)
    assert (ended.value.code, "is empty" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize(("status", "text"), [(502, "<html>Bad gateway</html>"), (200, "[]"), (200, "{}"), (200, "é")])
async def test_an_answer_of_something_else_is_told_in_words(
    status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=text.encode("latin-1"))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(revoke, subject="anna", token="t", url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()
    told = capsys.readouterr().err
    assert (ended.value.code, told.count("\n"), f"{status}: that is no answer" in told) == (1, 1, True), told


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("10.1.2.3", "http://10.1.2.3:8080"),
        ("fd00::1", "http://[fd00::1]:8080"),
        ("dialer.example", "http://dialer.example:8080"),
    ],
)
def test_the_service_is_asked_where_it_listens(host: str, address: str) -> None:
    assert address_here(Http(host=host)) == address
