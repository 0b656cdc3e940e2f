"""Which hosts campaigns may name, and which secret goes to which of them: the operator's to say, in the settings file.

Checked when a campaign's setting is stored, and again on each call: the file may have changed between.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from engine.core.interaction import Target
from engine.core.refusal import invalid
from engine.core.template import Origin


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A header with a secret value, for some hosts only: whoever may name it must not be able to send it elsewhere."""

    header: str
    value: str
    hosts: frozenset[str]

    def __repr__(self) -> str:
        return f"Credential({self.header!r})"  # never the value: this reaches logs and tracebacks


class Permit:
    def __init__(
        self,
        hosts: Collection[str] = (),
        *,
        allow_http: bool = False,
        credentials: Mapping[str, Credential] | None = None,
    ) -> None:
        self.hosts = frozenset(one.lower() for one in hosts)
        self._allow_http = allow_http
        self._credentials = dict(credentials or {})

    def check(self, targets: Sequence[Target]) -> None:
        """Raises Refused naming the setting that leads where no campaign may."""
        for target in targets:
            refused = self.refusal(target.origin)
            if refused:
                raise invalid(target.field, refused)
            if target.credential and self.credential(target.credential, target.origin) is None:
                reason = f"there is no credential {target.credential!r} for {target.origin.host!r} in [crm.credentials]"
                raise invalid("settings.external_url.credential", reason)

    def refusal(self, origin: Origin) -> str:
        """Why a URL may not lead there; empty where it may."""
        if origin.host not in self.hosts:
            return f"the operator has not listed the host {origin.host!r} in [crm] hosts"
        if origin.scheme != "https" and not self._allow_http:
            return "the address must begin with https://"
        return ""

    def credential(self, name: str, origin: Origin) -> Credential | None:
        known = self._credentials.get(name)
        return known if known is not None and origin.host in known.hosts else None
