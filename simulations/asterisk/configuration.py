"""The shipped configuration of the PBX, with this run's ports and secrets put in.

What an operator is given is what is tested: of the files in `adapters/ami/asterisk` only the lines named here are
changed, and each of them must be there.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

import adapters.ami
from simulations.asterisk.installation import Installation

SHIPPED = Path(adapters.ami.__file__).parent / "asterisk"
FIRST_WITH_NAMED_EVENT_FILTERS = 22
SYSTEM_NAME = "ringfold"

ASTERISK = """\
[directories]
astetcdir => {etc}
astmoddir => {modules}
astvarlibdir => {var}
astdbdir => {var}
astkeydir => {var}
astdatadir => {data}
astagidir => {var}
astspooldir => {var}
astrundir => {var}
astlogdir => {log}
astsbindir => {var}
[options]
systemname = {system}
nocolor = yes
"""
LOGGER = """\
[general]
dateformat = %F %T.%3q
[logfiles]
messages.log => notice,warning,error
"""
RTP = """\
[general]
rtpstart={first}
rtpend={last}
strictrtp=no
icesupport=no
"""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run. `phones`: SIP port of each phone on loopback, None for one that never registers."""

    ami_port: int
    secret: str
    sip_port: int
    carrier_port: int
    phones: Mapping[str, int | None]
    rtp_ports: tuple[int, int] = (10_000, 19_998)


class Folders(msgspec.Struct, frozen=True):
    etc: Path
    var: Path
    log: Path

    @classmethod
    def under(cls, work: Path) -> "Folders":
        return cls(work / "etc", work / "var", work / "log")


def write(plan: Plan, folders: Folders, installation: Installation) -> None:
    """A whole configuration folder, and the folders that Asterisk writes to."""
    for folder in (folders.etc, folders.var, folders.log):
        folder.mkdir(parents=True, exist_ok=True)
    (folders.log / "cel-custom").mkdir(exist_ok=True)
    for name, text in _files(plan, folders, installation).items():
        (folders.etc / name).write_text(text, "utf-8")


def shipped(name: str, changed: Mapping[str, str] | None = None) -> str:
    """A shipped file's text with whole lines replaced. Raises ValueError unless each is there exactly once."""
    lines = (SHIPPED / name).read_text("utf-8").splitlines()
    for old, new in (changed or {}).items():
        if lines.count(old) != 1:
            raise ValueError(f"{name} has {lines.count(old)} lines {old!r}")
        lines[lines.index(old)] = new
    return "\n".join(lines) + "\n"


def _files(plan: Plan, folders: Folders, installation: Installation) -> dict[str, str]:
    named = installation.major >= FIRST_WITH_NAMED_EVENT_FILTERS
    first, last = plan.rtp_ports
    return {
        "asterisk.conf": ASTERISK.format(
            etc=folders.etc, var=folders.var, log=folders.log, system=SYSTEM_NAME,
            modules=installation.module_folder, data=installation.data,
        ),
        "logger.conf": LOGGER,
        "rtp.conf": RTP.format(first=first, last=last),
        "modules.conf": _modules(installation.module_folder),
        "extensions.conf": shipped("extensions.conf"),
        "manager.conf": shipped(
            "manager.conf" if named else "manager-16.conf",
            {"port=5038": f"port={plan.ami_port}", "secret=change-me": f"secret={plan.secret}"},
        ),
        "cel.conf": shipped("cel.conf"),
        "cel_custom.conf": shipped("cel_custom.conf"),
        "pjsip.conf": shipped(
            "pjsip.conf",
            {
                "bind=0.0.0.0:5060": f"bind=127.0.0.1:{plan.sip_port}",
                "contact=sip:sip.carrier.example:5060": f"contact=sip:127.0.0.1:{plan.carrier_port}",
            },
        ),
        "pjsip_phones.conf": "\n".join(_phone(name, port) for name, port in plan.phones.items()),
    }  # fmt: skip


def _modules(folder: Path) -> str:
    """Without those that this version doesn't have: each would only be an error in the log."""

    def is_there(line: str) -> bool:
        return not line.startswith("load=") or (folder / line.removeprefix("load=")).exists()

    return "\n".join(filter(is_there, shipped("modules.conf").splitlines())) + "\n"


def _phone(name: str, port: int | None) -> str:
    """A phone from the shipped templates. It doesn't register: its contact is fixed, or missing."""
    contact = f"contact=sip:{name}@127.0.0.1:{port}\nqualify_frequency=0\n" if port is not None else ""
    return f"[{name}](ringfold-phone)\naors={name}\n[{name}](ringfold-phone-aor)\n{contact}"
