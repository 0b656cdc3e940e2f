"""A real Asterisk with real SIP far ends, unpacked into the user's cache and run on loopback without root."""

from simulations.asterisk.far_end import Carrier, Handset, Phones
from simulations.asterisk.installation import Installation, NotInstallable, install
from simulations.asterisk.pbx import Asterisk
from simulations.asterisk.site import Site

__all__ = ["Asterisk", "Carrier", "Handset", "Installation", "NotInstallable", "Phones", "Site", "install"]
