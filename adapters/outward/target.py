"""Where requests to others' addresses may go: not to this host, its private network or its cloud's inside, unless the operator
says so.

Checked on the address that is about to be connected to, for every connection: names resolve anew, and a literal address
or an odd spelling of one never passes a resolver. The standard library's `is_global` lets several ways in pass, hence
the table.
"""

import ipaddress
import socket
from contextvars import ContextVar
from typing import Any

WELL_KNOWN_PORTS = 1_024
WEB_PORTS = frozenset({80, 443})
"""Below the others are services that no webhook is for: mail, shells, databases of old."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE_V4 = tuple(
    ipaddress.IPv4Network(one)
    for one in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' shared space, and some clouds' inside
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: clouds keep their credentials there
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
PRIVATE_V6 = tuple(
    ipaddress.IPv6Network(one)
    for one in (
        "2001::/23",  # Teredo and others
        "2001:db8::/32",
        "2002::/16",  # 6to4: any IPv4 address in disguise
        "3fff::/20",
    )
)


NEVER = tuple(
    ipaddress.ip_network(one)
    for one in ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/128", "fe80::/10", "fd00:ec2::/32", "ff00::/8")
)
"""Link-local (where clouds keep credentials), multicast, nowhere: a name that the operator trusts doesn't lead there."""


class TargetRefused(OSError):
    """The address is not one that requests may go to."""


class Targets:
    """`hosts` are names, addresses or networks that may be reached although they are private."""

    def __init__(self, *, allow_private: bool, allow_http: bool, hosts: tuple[str, ...] = ()) -> None:
        self._allow_private = allow_private
        self._allow_http = allow_http
        self._networks: list[Network] = []
        self._names: set[str] = set()
        for host in hosts:
            try:
                self._networks.append(ipaddress.ip_network(host, strict=False))
            except ValueError:
                self._names.add(host.lower())
        self._trusted: ContextVar[bool] = ContextVar("trusted", default=False)

    def admit(self, scheme: str, host: str, port: int) -> None:
        """Before each request: may it go there at all? Also notes for `connect` whether the name may be private.

        Raises TargetRefused.
        """
        if scheme != "https" and not (self._allow_http and scheme == "http"):
            raise TargetRefused("the address must begin with https://")
        self._trusted.set(host.lower() in self._names)
        if not (port in WEB_PORTS or port >= WELL_KNOWN_PORTS or (port and self._may_any_port(host))):
            raise TargetRefused(f"port {port} is not one of the web's")

    def _may_any_port(self, host: str) -> bool:
        """What the operator has listed, by name or as a network."""
        if self._allow_private or self._trusted.get():
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return any(address in one for one in self._networks)

    def connect(self, found: tuple[Any, ...]) -> socket.socket:
        """A socket for an address as getaddrinfo gives it. Raises TargetRefused."""
        family, kind, proto, _, where = found
        if not self._may_reach(ipaddress.ip_address(where[0].partition("%")[0])):
            raise TargetRefused("the address is private")
        return socket.socket(family=family, type=kind, proto=proto)

    def _may_reach(self, address: Address) -> bool:
        plain: Address = address
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            plain = address.ipv4_mapped
        if self._allow_private or is_public(plain) or any(plain in one for one in self._networks):
            return True
        return self._trusted.get() and not any(plain in one for one in NEVER)


def is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in one for one in PRIVATE_V4)
    return address in PUBLIC_V6 and not any(address in one for one in PRIVATE_V6)


ANYWHERE = Targets(allow_private=True, allow_http=True)
