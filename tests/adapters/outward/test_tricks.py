"""Given whatever spelling, answer of a name server or redirect that leads inside, then nobody inside hears of it.

A listener stands for the inside, on every address of the loopback: it counts connections, not requests.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.outward.sender import Answer, Bounds, Outgoing, Sender
from adapters.outward.target import NEVER, Targets, is_public
from tests.adapters.notify.house import Clock

Recorded = Callable[[str, object], None]
BOUNDS = Bounds(user_agent="ringfold-test", request_timeout_ms=5_000, response_bytes=1_000, max_requests=10)
INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
"""Both are this machine's; only the second one is allowed."""

NOT_PUBLIC = """
0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.0 127.0.0.1
127.255.255.255 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.0 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1
192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250
240.0.0.1 255.255.255.254 255.255.255.255
:: ::1 ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254
64:ff9b::8.8.8.8 64:ff9b:1::127.0.0.1 64:ff9b:1:ffff::10.0.0.1 100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1 2001:30::1 2001:1ff:ffff::1 2001:db8::1 2002:7f00:1:: 2002:a9fe:a9fe::
2002:a00:1:: 2002:c0a8:1:: 2002:808:808:: 3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd00::1 fd00:ec2::254 fd12:3456:789a::1
fe80::1 fe80::a9fe:a9fe febf::1 fec0::1 ff01::1 ff02::1 ff05::2 ff0e::1
""".split()
"""Addresses, by the first and last of their networks and by what clouds keep there."""

PUBLIC = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 \
169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 \
2001:200:: 2001:4860:4860::8888 2001:db7:: 2001:db9:: 2003:: 2606:4700::1111 2a00:1450::1 3ffe::1".split()
"""Their neighbours: the guard is no wider than it must be."""

SPELLINGS = """
127.0.0.1 127.0.0.1. 127.0.1 127.1 127.1. 2130706433 2130706433. 0x7f000001 0X7F000001 0x7f.0.0.1 0x7f.1
0x7f.0x0.0x0.0x1 0177.0.0.1
0177.1 017700000001 00000177.0.0.1 127.0.0.01 127.00.00.01 127.0.0.0x1 0 0.0.0.0 0x0 00 0.0 000.000.000.000
127.0.0.255 127.255.255.254 127.127.127.127
localhost LOCALHOST LocalHost localhost. localhost.localdomain ip6-localhost ip6-loopback
[::1] [::] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0001] [::ffff:127.0.0.1] [::ffff:7f00:1]
[::FFFF:7F00:0001]
[0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [::7f00:1] [::ffff:0:127.0.0.1] [::ffff:0.0.0.0] [::ffff:169.254.169.254]
[64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::127.0.0.1] [2002:7f00:1::] [2002:7f00:1::1] [2001:0:7f00:1::]
[2001:0:4136:e378:8000:63bf:80ff:fffe] [fe80::1] [fe80::1%25lo] [fe80::1%lo] [::1%25lo] [::1%lo] [::1%251]
[fe80::1%25] [fd00:ec2::254]
[ff02::1] [ff02::1%25lo] [fc00::1] [fd00::1] [::1 [::1]] ::1 [127.0.0.1] [v1.127.0.0.1] [:::1] [::1]. [1::2::3]
\uff11\uff12\uff17.\uff10.\uff10.\uff11 \u2460\u2461\u2466.\u24ea.\u24ea.\u2460 127\u30020\u30020\u30021
127\uff0e0\uff0e0\uff0e1
127\uff610\uff610\uff611 \U0001d7cf\U0001d7d0\U0001d7d5.0.0.1 \u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3
\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54
loc\u00adalhost lo\u200bcalhost \u017flocalhost.inside.test xn--localhost xn--127-
%31%32%37.0.0.1 127%2e0%2e0%2e1 127.0.0.1%00 127.0.0.1%00.inside.test 127.0.0.1%2f.inside.test %6cocalhost
127.0.0.1%20
user@127.0.0.1 user:word@127.0.0.1 inside.test@127.0.0.1 inside.test:80@127.0.0.1 127.0.0.1@inside.test :@127.0.0.1
@127.0.0.1
a@b@127.0.0.1 127.0.0.1:80@inside.test inside.test%40127.0.0.1 inside.test&@127.0.0.1
127.0.0.1\\@inside.test inside.test\\@127.0.0.1 inside.test\\.127.0.0.1 127.0.0.1;.inside.test 127.0.0.1,inside.test
127.0.0.1\t.inside.test
169.254.169.254 169.254.169.254. 0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.43518 instance-data.test
metadata.test
10.0.0.1 10.1 172.16.0.1 192.168.0.1 192.168.1 100.64.0.1 100.100.100.200 198.18.0.1 192.0.0.192 192.88.99.1 224.0.0.1
239.255.255.250 240.0.0.1 255.255.255.255 0xffffffff 4294967295 4294967296 99999999999 -1 127.0.0.256 127.0.0.1.1
1.2.3.4.5
inside.test INSIDE.TEST inside.test. v6.inside.test mapped.inside.test alias.inside.test two.inside.test
nat64.inside.test
empty.inside.test zone.inside.test 127.0.0.1.inside.test 7f000001.inside.test
""".replace("\\t", "\t").split(" ")
HOSTS = [one for part in SPELLINGS for one in part.split("\n") if one]
"""What may stand between `//` and the port."""

FORMS = [
    "//{}/hook",
    "{}/hook",
    "http:{}/hook",
    "http:/{}/hook",
    "http:///{}/hook",
    "http:////{}/hook",
    "http:\\\\{}\\hook",
    "http:/\\{}/hook",
    "hTTp://{}/hook ",
    " http://{}/hook",
    "\thttp://{}/hook",
    "ht\ntp://{}/hook",
    "http ://{}/hook",
    "ftp://{}/hook",
    "file://{}/etc/passwd",
    "file:///etc/passwd",
    "gopher://{}/_GET%20/",
    "dict://{}/",
    "ldap://{}/",
    "ws://{}/hook",
    "wss://{}/hook",
    "http+unix://{}/hook",
    "unix:///run/service.sock",
    "jar:http://{}/hook!/",
    "data:text/plain,{}",
    "javascript:{}",
    "",
    "http://",
    "http://?{}",
    "http://#{}",
    "http://@/{}",
]
"""Addresses as a whole, with the inside's host and port put in."""

PORTS = [
    "0",
    "1",
    "22",
    "23",
    "25",
    "110",
    "143",
    "389",
    "445",
    "587",
    "1023",
    "65536",
    "99999",
    "-1",
    "+80",
    "8\uff10",
    "0x50",
    " 80",
]


class Names(AbstractResolver):
    """A name server that lies: each name has a list of answers, given in turn, the last for ever."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        self.asked.append(host)
        name = host.rstrip(".").lower()
        known = self.answers.get(name)
        if known is None:
            return await self._of_the_system(host, port, family, 0 if name in OF_THE_SYSTEM else socket.AI_NUMERICHOST)
        addresses = known.pop(0) if len(known) > 1 else known[0]
        if not addresses:
            raise OSError(f"no address of {host}")
        return [self._result(host, port, one) for one in addresses]

    @staticmethod
    def _result(host: str, port: int, address: str) -> ResolveResult:
        version = ipaddress.ip_address(address.partition("%")[0]).version
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        return ResolveResult(
            hostname=host, host=address, port=port, family=family, proto=0, flags=int(socket.AI_NUMERICHOST)
        )

    async def _of_the_system(self, host: str, port: int, family: Any, flags: int) -> list[ResolveResult]:
        """As the system reads it: it knows more spellings of addresses than anybody. No name server is asked."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=flags)
        return [self._result(host, port, str(where[0])) for *_, where in found]

    async def close(self) -> None:
        pass


OF_THE_SYSTEM = {"localhost", "ip6-localhost", "ip6-loopback"}
INNER: dict[str, Sequence[Sequence[str]]] = {
    "inside_test": [[INSIDE]],
    "v6_inside_test": [["::1"]],
    "mapped_inside_test": [["::ffff:127.0.0.1"]],
    "alias_inside_test": [[INSIDE]],  # at the end of a chain of CNAMEs there is an address all the same
    "two_inside_test": [["10.0.0.1", INSIDE, "::1"]],
    "nat64_inside_test": [["64:ff9b::7f00:1"]],
    "empty_inside_test": [[]],
    "zone_inside_test": [["fe80::1%lo"]],
    "127_0_0_1_inside_test": [[INSIDE]],
    "7f000001_inside_test": [[INSIDE]],
    "instance-data_test": [["169.254.169.254"]],
    "metadata_test": [["169.254.169.254"]],
}


class Inside:
    """Counts whoever connects, to one port of every address of the loopback."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    def _connected(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


class Watched(Targets):
    """Counts what got as far as to a socket: that much the guard alone has refused."""

    def __init__(self) -> None:
        super().__init__(allow_private=False, allow_http=True)
        self.at_the_socket = 0

    def connect(self, found: tuple[Any, ...]) -> socket.socket:
        self.at_the_socket += 1
        return super().connect(found)


@asynccontextmanager
async def inside(*addresses: str, port: int = 0) -> AsyncIterator[Inside]:
    found = Inside()
    servers = []
    for address in addresses or ("0.0.0.0", "::1"):
        server = await asyncio.start_server(found._connected, address, port or found.port)
        found.port = server.sockets[0].getsockname()[1]
        servers.append(server)
    try:
        yield found
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


@asynccontextmanager
async def sending(targets: Targets, **answers: Sequence[Sequence[str]]) -> AsyncIterator[tuple[Sender, Names]]:
    names = Names(**answers)
    sender = Sender(BOUNDS, Clock(), targets, names)
    sender.open()
    try:
        yield sender, names
    finally:
        await sender.close()


async def send(sender: Sender, url: str) -> Answer:
    return await sender.send(Outgoing(method="POST", url=url, headers={}, body=b"{}"))


def test_every_address_inside_is_known_as_such_and_its_neighbours_are_not(record_property: Recorded) -> None:
    assert [one for one in NOT_PUBLIC if is_public(ipaddress.ip_address(one))] == []
    assert [one for one in PUBLIC if not is_public(ipaddress.ip_address(one))] == []
    record_property("addresses judged", len(NOT_PUBLIC) + len(PUBLIC))


async def test_no_spelling_leads_inside(record_property: Recorded) -> None:
    targets = Watched()
    async with inside() as listening, sending(targets, **INNER) as (sender, names):
        port = listening.port
        urls = [f"http://{host}:{port}/hook" for host in HOSTS]
        urls += [f"http://{host}:{port}#@inside.test/hook" for host in ("127.0.0.1", "localhost", "[::1]")]
        urls += [f"http://{host}:{port}?@inside.test/hook" for host in ("127.0.0.1", "localhost", "[::1]")]
        urls += [form.format(f"127.0.0.1:{port}") for form in FORMS]
        urls += [f"http://{INSIDE}:{one}/hook" for one in PORTS]
        stopped = 0
        for url in urls:
            before = targets.at_the_socket
            answer = await send(sender, url)
            stopped += targets.at_the_socket > before
            assert (answer.status, bool(answer.error)) == (0, True), url
            assert listening.connections == 0, url
        assert "inside.test" in names.asked  # the names were looked up, and it was the addresses that were refused
        reader, writer = await asyncio.open_connection(INSIDE, port)
        await reader.read()
        writer.close()
        assert listening.connections == 1  # the inside was there all the time
    assert stopped > len(urls) // 4  # the others are no addresses to anybody, or are refused before
    record_property("tricks refused", f"{len(urls)}, of them at the socket {stopped}")


@pytest.mark.parametrize(
    "first",
    [[OUTSIDE], [OUTSIDE, INSIDE], [INSIDE, OUTSIDE], ["::1", OUTSIDE], ["::ffff:127.0.0.1", OUTSIDE], [INSIDE]],
)
async def test_a_name_that_leads_elsewhere_at_the_second_look_is_held_to_the_second(first: list[str]) -> None:
    """Rebinding: the answer changes between attempts, or holds an allowed address and one inside."""
    allowed = Targets(allow_private=False, allow_http=True, hosts=(f"{OUTSIDE}/32",))
    async with inside("127.0.0.1", "::1") as listening:
        async with sending(allowed, moving_test=[first, [INSIDE], ["::1"]]) as (sender, names):
            for _ in range(4):
                sender._session._connector.clear_dns_cache()  # type: ignore[union-attr]  # as after its ten seconds
                answer = await send(sender, f"http://moving.test:{listening.port}/hook")
                assert answer.status == 0
            assert len(names.asked) == 4
        assert listening.connections == 0


async def test_an_allowed_address_among_others_is_the_one_that_is_called() -> None:
    allowed = Targets(allow_private=False, allow_http=True, hosts=(f"{OUTSIDE}/32",))
    async with inside(OUTSIDE) as outside, inside(INSIDE, port=outside.port) as listening:
        async with sending(allowed, both_test=[[INSIDE, OUTSIDE]]) as (sender, _):
            await send(sender, f"http://both.test:{outside.port}/hook")
        assert (outside.connections > 0, listening.connections) == (True, 0)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    async with inside(INSIDE) as listening:

        async def lead(request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": f"http://{INSIDE}:{listening.port}/hook"})

        app = web.Application()
        app.router.add_post("/hook", lead)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, OUTSIDE, 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            for targets in (
                Targets(allow_private=False, allow_http=True, hosts=(f"{OUTSIDE}/32",)),
                Targets(allow_private=True, allow_http=True),
            ):
                async with sending(targets) as (sender, _):
                    answer = await send(sender, f"http://{OUTSIDE}:{port}/hook")
                    assert (answer.status, answer.taken) == (status, False)
        finally:
            await runner.cleanup()
        assert listening.connections == 0


@pytest.mark.parametrize(
    "address", "169.254.169.254 fe80::1 0.0.0.0 :: 224.0.0.1 255.255.255.255 fd00:ec2::254".split()
)
def test_a_trusted_name_leads_to_the_private_network_and_no_further(address: str) -> None:
    """Given a name that the operator trusts, when it leads to a cloud's credentials, then it isn't called all the same."""
    assert any(ipaddress.ip_address(address) in one for one in NEVER)
    assert [answer.error for answer in asyncio.run(_trusted(address))] == ["the address is private"]


async def _trusted(address: str) -> list[Answer]:
    targets = Targets(allow_private=False, allow_http=True, hosts=("crm.test",))
    async with sending(targets, crm_test=[[address]]) as (sender, _):
        return [await send(sender, "http://crm.test:8080/hook")]


async def test_a_trusted_name_may_be_private_on_any_port_and_no_other_name_may() -> None:
    targets = Targets(allow_private=False, allow_http=True, hosts=("crm.test",))
    async with inside(INSIDE) as listening, sending(targets, crm_test=[[INSIDE]], other_test=[[INSIDE]]) as (sender, _):
        for host in ("other.test", "crm.test.", "crm.test.other.test", "user@crm.test", "xcrm.test"):
            await send(sender, f"http://{host}:{listening.port}/hook")
        assert listening.connections == 0
        await send(sender, f"http://CRM.test:{listening.port}/hook")
        assert listening.connections > 0
        assert (await send(sender, "http://crm.test:1/hook")).error == "no connection"  # tried, and nobody there
        assert "port" in (await send(sender, "http://other.test:1/hook")).error
