"""Given an address that leads inside, in whatever spelling, then no webhook goes there unless the operator allows it."""

import ipaddress
import random

import pytest

from adapters.notify import Notifier, Targets
from adapters.outward.target import TargetRefused, is_public
from tests.adapters.notify.house import QUICK, Clock, House, opening, until
from tests.adapters.notify.receiver import Receiver

INSIDE = [
    "127.0.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "192.168.0.1",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::1",
    "::",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136::1",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "3fff::1",
    "5f00::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_what_leads_inside_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "193.0.6.139", "2606:4700::1111", "2a00:1450::1"])
def test_what_is_public_is(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_an_ipv4_address_in_ipv6_clothes_is_judged_as_what_it_is() -> None:
    targets = Targets(allow_private=False, allow_http=False, hosts=("10.0.0.0/8",))
    with pytest.raises(TargetRefused):
        targets.connect((10, 1, 6, "", ("::ffff:127.0.0.1", 443, 0, 0)))
    targets.connect((10, 1, 6, "", ("::ffff:10.0.0.1", 443, 0, 0))).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_no_spelling_of_loopback_is_reached(host: str) -> None:
    house, receiver = House(), Receiver()
    house.notifier = notifier_with(house, Targets(allow_private=False, allow_http=True))
    await receiver.start()
    await house.notifier.start()
    house.put("crm", f"http://{host}:{receiver.port}/hook")
    house.write("sales", *opening("sales"))
    await until(lambda: bool(house.notifier.deliveries("crm", 1)))
    assert house.notifier.deliveries("crm", 1)[0].status == 0
    assert not receiver.requests
    if host in ("127.0.0.1", "[::ffff:127.0.0.1]"):
        assert "private" in house.notifier.deliveries("crm", 1)[0].error
    await house.notifier.stop()
    await receiver.stop()


@pytest.mark.parametrize(
    ("hosts", "named"), [(("localhost",), "localhost"), (("127.0.0.0/8",), "127.0.0.1"), (("127.0.0.1",), "localhost")]
)
async def test_the_operator_may_allow_hosts_and_networks(hosts: tuple[str, ...], named: str) -> None:
    house, receiver = House(), Receiver()
    house.notifier = notifier_with(house, Targets(allow_private=False, allow_http=True, hosts=hosts))
    await receiver.start()
    await house.notifier.start()
    house.put("crm", f"http://{named}:{receiver.port}/hook")
    house.write("sales", *opening("sales"))
    await until(lambda: receiver.seqs("sales") == [1, 2, 3])
    await house.notifier.stop()
    await receiver.stop()


@pytest.mark.parametrize("url", ["http://localhost:{}/hook", "ftp://localhost:{}/hook", "//localhost:{}/hook", ""])
async def test_only_https_unless_http_is_allowed(url: str) -> None:
    house, receiver = House(), Receiver()
    house.notifier = notifier_with(house, Targets(allow_private=True, allow_http=False))
    await receiver.start()
    await house.notifier.start()
    house.put("crm", url.format(receiver.port))
    house.write("sales", *opening("sales"))
    await until(lambda: bool(house.notifier.deliveries("crm", 1)))
    assert house.notifier.deliveries("crm", 1)[0].status == 0
    assert house.notifier.deliveries("crm", 1)[0].error
    assert not receiver.requests
    await house.notifier.stop()
    await receiver.stop()


def notifier_with(house: House, targets: Targets) -> Notifier:
    return Notifier(
        house.shelf,
        house.books.get,
        lambda: house.webhooks,
        Clock(),
        QUICK,
        random.Random(1),
        targets,
    )
