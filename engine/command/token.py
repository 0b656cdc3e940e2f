"""`ringfold token`: a token, signed with the installation's key."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from api.token import KeyRing, Role
from engine.command.terminal import Config, settings_at

TIMED_ROLES = (Role.ADMINISTRATOR, Role.SUPERVISOR, Role.AGENT)
"""Roles of people; systems' tokens may live longer."""


def token(
    *,
    role: Role,
    subject: str,
    ttl_s: int = 8 * 3_600,
    campaign: Annotated[tuple[str, ...], Parameter(help="Campaigns it is bound to; may be given more than once.")] = (),
    agent: Annotated[tuple[str, ...], Parameter(help="Agents that it may act for; may be given more than once.")] = (),
    system: Annotated[tuple[str, ...], Parameter(help="External systems that it may speak as.")] = (),
    config: Config = None,
) -> None:
    """Print a token. `subject` is who acts: for an agent, the agent's id."""
    settings = settings_at(config)
    longest = getattr(settings.tokens, f"max_{role if role in TIMED_ROLES else 'system'}_ttl_s")
    if not 1 <= ttl_s <= longest:
        print(f"ringfold: a token of role {role} lives from 1 to {longest} seconds (see [tokens])", file=sys.stderr)
        sys.exit(2)
    try:
        keys = KeyRing.open(Path(settings.tokens.key_file), issuer=settings.tokens.issuer)
        print(keys.mint(role, subject, ttl_s=ttl_s, campaigns=campaign, agents=agent, systems=system))
    except (OSError, ValueError) as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(2)
