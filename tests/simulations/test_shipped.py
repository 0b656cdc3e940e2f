"""The simulated PBX is set up as the shipped configuration sets up the real one."""

import re
from pathlib import Path

from simulations.pbx import DEFAULT_EVENTS, User

SHIPPED = Path(__file__).parents[2] / "adapters" / "ami" / "asterisk"


def test_manager_user_hears_and_may_what_the_shipped_one_does() -> None:
    text = (SHIPPED / "manager.conf").read_text()
    assert set(re.findall(r"^eventfilter\(.*name\((\w+)\)", text, re.MULTILINE)) == DEFAULT_EVENTS
    for right in ("read", "write"):
        granted = re.search(rf"^{right}\s*=\s*(\S+)", text, re.MULTILINE)
        assert granted is not None
        assert set(granted[1].split(",")) == getattr(User(), right)
