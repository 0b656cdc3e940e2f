"""`ringfold revoke`: tokens taken back in the running service, by an operator who has its key file, or a token."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import msgspec
from cyclopts import Parameter

from api.token import KeyRing, Role
from config.settings import Settings
from engine.command.terminal import Config, address_here, settings_at

OPERATOR = "operator"
"""The `by` of what is done with the key file."""
OWN_TTL_S = 60
ANSWER_WITHIN_S = 30


def revoke(
    *,
    subject: Annotated[
        str | None, Parameter(help="Whoever was given the tokens: all of them, in any role, until now.")
    ] = None,
    jti: Annotated[str | None, Parameter(help="One token, by the id that the audit's lines name.")] = None,
    token: Annotated[
        str,
        Parameter(env_var="RINGFOLD_TOKEN", help="An administrator's; none: one made with the key file, for a minute."),
    ] = "",
    url: Annotated[str, Parameter(help="Of the running service; none: the one of the settings, on this machine.")] = "",
    config: Config = None,
) -> None:
    """Take tokens back: they are refused from the next request on. With neither of the two, list what is taken back."""
    settings = settings_at(config)
    named = {name: value for name, value in (("subject", subject), ("jti", jti)) if value is not None}
    if len(named) > 1:
        print("ringfold: either --subject or --jti", file=sys.stderr)
        sys.exit(2)
    for name, value in named.items():
        if not value.strip():  # a variable that wasn't set: to list would look as if it were done
            print(f"ringfold: --{name} is empty: nothing was taken back", file=sys.stderr)
            sys.exit(2)
    try:
        asyncio.run(_asked(url or address_here(settings.http), token or _own(settings), named))
    except (aiohttp.ClientError, TimeoutError) as error:
        print(f"ringfold: the service doesn't answer: {str(error) or type(error).__name__}", file=sys.stderr)
        sys.exit(1)


def _own(settings: Settings) -> str:
    try:
        keys = KeyRing.open(Path(settings.tokens.key_file), issuer=settings.tokens.issuer)
    except (OSError, ValueError) as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(2)
    return keys.mint(Role.ADMINISTRATOR, OPERATOR, ttl_s=OWN_TTL_S)


async def _asked(url: str, token: str, named: dict[str, str]) -> None:
    """Prints what is taken back, the newest first. Exits with 1 where that is refused."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, timeout=timeout) as session:
        after: str | None = ""
        while after is not None:
            if named:
                page = await _page(session, "POST", f"{url}/v1/tokens/revoke", json=named)
                page["next"] = None  # the newest are enough to see that it is done
            else:
                page = await _page(session, "GET", f"{url}/v1/tokens/revoked", params={"after": after})
            for one in page["revoked"]:
                what = f"subject {one['subject']}" if one["subject"] else f"token {one['jti']}"
                print(f"{one['at']}  {what}  by {one['by']}")
            after = page["next"]


async def _page(session: aiohttp.ClientSession, method: str, url: str, **how: Any) -> dict[str, Any]:
    async with session.request(method, url, **how) as answer:
        text = await answer.read()
    told: dict[str, Any] | None = None
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        told = msgspec.json.decode(text, type=dict[str, Any])
    if told is None or (answer.status == 200 and "revoked" not in told):
        print(f"ringfold: {answer.status}: that is no answer of the service; is it at this address?", file=sys.stderr)
        sys.exit(1)
    if answer.status != 200:
        print(f"ringfold: {answer.status}: {told.get('detail', '')}", file=sys.stderr)
        sys.exit(1)
    return told
