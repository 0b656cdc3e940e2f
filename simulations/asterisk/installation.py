"""Asterisk and sipp from Debian's packages, unpacked beside the host instead of installed on it.

The packages' whole closure, C library included, lies in one folder and is run by its own loader: no package database,
no maintainer script and no library of the host takes part, so neither root nor a matching Debian is needed. Where the
archive is comes from this machine's own apt.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

SUITES = ("sid", "bullseye")
"""Newest first: Asterisk 22, and 16 for the day when the first one's closure can't be resolved."""
PACKAGES = ("asterisk", "asterisk-modules", "sip-tester")
NOT_NEEDED = (
    "adduser asterisk-config debconf dirmngr gnupg gpg libc-gconv libpam libperl passwd pci.ids perl pinentry tzdata"
).split()
"""In the closure for the sake of maintainer scripts and the like."""
LAYOUT = "asterisk-1"
"""Name of the folder in the cache. Raise the number when what is unpacked, or how, changes."""
DESCRIPTION = "installation.json"
INDEX_FORMAT = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)"
APT_TIMEOUT_S = 300
UNPACK_TIMEOUT_S = 120

Say = Callable[[str], None]


class NotInstallable(Exception):
    """Why there can be no real Asterisk on this machine."""


class Installation(msgspec.Struct, frozen=True):
    """An unpacked Asterisk. Paths are relative to `root`, so the folder may be moved before it is first used."""

    version: str
    loader: str
    libraries: tuple[str, ...]
    modules: str
    root: str = ""

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    @property
    def data(self) -> Path:
        return Path(self.root, "usr/share/asterisk")

    @property
    def module_folder(self) -> Path:
        return Path(self.root, self.modules)

    def asterisk(self) -> list[str]:
        """The command to which Asterisk's own arguments are appended."""
        return self._command("usr/sbin/asterisk")

    def sipp(self) -> list[str]:
        return self._command("usr/bin/sipp")

    def _command(self, binary: str) -> list[str]:
        root = Path(self.root)
        path = ":".join(str(root / folder) for folder in self.libraries)
        return [str(root / self.loader), "--library-path", path, str(root / binary)]


def cache_folder() -> Path:
    """RINGFOLD_CACHE, else `.cache/ringfold` in the user's home."""
    return Path(os.environ.get("RINGFOLD_CACHE") or Path.home() / ".cache" / "ringfold").resolve()


def install(say: Say = print, cache: Path | None = None) -> Installation:
    """The installation in the cache, made if it isn't there yet. Raises NotInstallable.

    Two processes may ask at once: the second waits for the first. A folder under its final name is complete.
    """
    cache = cache or cache_folder()
    target = cache / LAYOUT
    if (found := _installed(target)) is not None:
        return found
    _check_machine()
    try:
        with _locked(cache):
            return _installed(target) or _make(target, say)
    except OSError as fault:
        raise NotInstallable(f"the cache {cache} can't be used: {fault.strerror or fault}") from fault


def _installed(target: Path) -> Installation | None:
    try:
        found = msgspec.json.decode((target / DESCRIPTION).read_bytes(), type=Installation)
    except (OSError, msgspec.DecodeError):
        return None
    return msgspec.structs.replace(found, root=str(target))


def _check_machine() -> None:
    if platform.system() != "Linux" or platform.machine() not in {"x86_64", "AMD64"}:
        raise NotInstallable(f"packages are taken for Linux on amd64; this is {platform.system()} {platform.machine()}")
    if missing := [tool for tool in ("apt-get", "dpkg-deb", "tar") if shutil.which(tool) is None]:
        raise NotInstallable(f"{', '.join(missing)} not found: packages come through Debian's apt")


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{LAYOUT}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(target: Path, say: Say) -> Installation:
    faults = []
    for suite in SUITES:
        say(f"Asterisk: unpacking Debian's packages of {suite} into {target}")
        with tempfile.TemporaryDirectory(prefix=f"{LAYOUT}-", dir=target.parent) as scratch:
            root, apt = Path(scratch, "root"), Path(scratch, "apt")
            root.mkdir()
            try:
                _unpack(_download(apt, suite, say), root)
                made = _describe(root)
            except (NotInstallable, subprocess.SubprocessError) as fault:
                faults.append(f"{suite}: {fault}")
                say(f"Asterisk: not from {suite}: {fault}")
                continue
            (root / DESCRIPTION).write_bytes(msgspec.json.encode(made))
            shutil.rmtree(target, ignore_errors=True)  # left there without its description by somebody else
            root.rename(target)
        say(f"Asterisk: {made.version} is ready")
        return msgspec.structs.replace(made, root=str(target))
    raise NotInstallable("; ".join(faults))


def _archive() -> str:
    """The address of the Debian archive that this machine itself installs from."""
    listed = _run(["apt-get", "indextargets", "--format", INDEX_FORMAT, "Created-By: Packages"])
    for line in listed.splitlines():
        origin, codename, address = line.split("|", 2)
        if origin == "Debian" and "-" not in codename:  # not its updates or backports: they are no archive of suites
            return address
    raise NotInstallable("apt knows no Debian archive (as root: apt-get update)")


def _download(apt: Path, suite: str, say: Say) -> list[Path]:
    """Fetch the packages' closure for a machine on which nothing is installed."""
    for folder in ("lists/partial", "cache/archives/partial", "etc"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    keys = [
        path
        for ending in ("pgp", "gpg")
        for path in Path("/usr/share/keyrings").glob(f"debian-archive-keyring.{ending}")
    ]
    signed = f"[signed-by={keys[0]}] " if keys else ""
    (apt / "etc" / "sources.list").write_text(f"deb {signed}{_archive()} {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": apt / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Get::List-Cleanup": "false",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "true",
    }
    get = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    _run([*get, "-oAPT::Update::Error-Mode=any", "update"])
    say("Asterisk: index read, fetching packages")
    _run([*get, "--yes", "--download-only", "install", *PACKAGES])
    return sorted((apt / "cache" / "archives").glob("*.deb"))


def _unpack(packages: Sequence[Path], root: Path) -> None:
    leave = [f"--exclude=./usr/share/{folder}" for folder in ("doc", "man", "locale", "perl", "fonts")]
    for package in packages:
        if package.name.startswith(tuple(NOT_NEEDED)):
            continue
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as files:
            unpacked = subprocess.run(
                ["tar", "-x", "--no-same-owner", "-C", str(root), *leave],
                stdin=files.stdout, capture_output=True, text=True, timeout=UNPACK_TIMEOUT_S, check=False,
            )  # fmt: skip
        if unpacked.returncode or files.returncode:
            raise NotInstallable(f"{package.name} can't be unpacked: {unpacked.stderr.strip()}")


def _describe(root: Path) -> Installation:
    """Find what moved between Debian's releases, and try whether both programs run at all."""
    loader = _one(root, "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/*/ld-linux-x86-64.so.2", "lib/*/ld-2.*.so")
    modules = _one(root, "usr/lib/*/asterisk/modules", "usr/lib/asterisk/modules")
    libraries = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib")
    found = Installation(version="", loader=loader, libraries=libraries, modules=modules, root=str(root))
    told = _run([*found.asterisk(), "-V"]).split()
    version = told[1] if len(told) > 1 else ""
    if not version.partition(".")[0].isdigit():
        raise NotInstallable(f"asterisk -V says {' '.join(told)!r}")
    _run([*found.sipp(), "-v"], accept=(0, 99))  # 99 is sipp's own code for "said what it was asked, made no call"
    return msgspec.structs.replace(found, version=version, root="")


def _one(root: Path, *patterns: str) -> str:
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            return path.relative_to(root).as_posix()
    raise NotInstallable(f"the packages hold no {patterns[0]}")


def _run(command: list[str], accept: Sequence[int] = (0,)) -> str:
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=environment, timeout=APT_TIMEOUT_S, check=False
    )
    if done.returncode not in accept:
        said = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.startswith("E:")]
        reason = said[0] if said else (done.stderr or done.stdout).strip()[-300:]
        raise NotInstallable(f"{Path(command[0]).name}: {reason or f'exit {done.returncode}'}")
    return done.stdout
