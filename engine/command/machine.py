"""What `ringfold check` looks at on this machine: the token keys, folders, room on the disk, the address to listen on."""

import errno
import os
import shutil
import socket
from pathlib import Path

import aiohttp

from adapters.ami.check import Finding
from api.token import KeyRing
from config.settings import Http, Settings
from engine.command.terminal import address_here

LEAST_FREE_BYTES = 2 * 1024 * 1024 * 1024
"""Less than this is told of: some fifty million events, or four of the largest imports."""
ANSWER_WITHIN_S = 2
ATTIC = "calls that ended"


async def look(settings: Settings) -> list[Finding]:
    """Changes nothing, as far as that can be: a missing folder or key is made by the service, not here."""
    findings = [_token_keys(settings), *_folders(settings), await _address(settings.http)]
    if os.geteuid() == 0:
        findings.append(
            Finding(
                ok=False,
                what="this is root: what it may read and write, the service's user may not",
                cure="run it as the user that the service runs as",
                warning=True,
            )
        )
    return findings


def _token_keys(settings: Settings) -> Finding:
    path = Path(settings.tokens.key_file)
    if not is_there(path):
        bad = _unwritable(path.parent)
        cure = f"let the service's user write to {bad}, or name another key_file in [tokens]" if bad else ""
        return Finding(ok=not cure, what=f"token keys: none yet, the first start makes {path}", cure=cure)
    try:
        KeyRing.open(path, issuer=settings.tokens.issuer)
    except (OSError, ValueError) as error:
        cure = "give it to the service's user with mode 600; a damaged one has to be replaced, and all tokens with it"
        return Finding(ok=False, what=f"token keys: {error}", cure=cure)
    return Finding(ok=True, what="token keys: readable for the service alone")


def _folders(settings: Settings) -> list[Finding]:
    wanted = {"imports": Path(settings.imports.folder)}
    if settings.store.file is not None:
        wanted = {"the store": settings.store.file.parent, **wanted}
    if settings.retention.archive_after_days:
        wanted["archives"] = Path(settings.retention.archive_folder)
    attic = settings.attic
    if attic is not None and attic not in wanted.values():
        wanted[ATTIC] = attic
    findings = []
    for name, folder in wanted.items():
        bad = _unwritable(folder)
        what = f"the folder of {name}: {folder} " + ("can't be written to" if bad else "can be written to")
        cure = f"let the service's user write to {bad}" if bad else ""
        cure += "; until then these calls stay in memory" if bad and name == ATTIC else ""
        findings.append(Finding(ok=bad is None, what=what, cure=cure, warning=name == ATTIC))
        free = shutil.disk_usage(_there(folder)).free
        if free < LEAST_FREE_BYTES:
            worse = "these calls stay in memory" if name == ATTIC else "nothing can be decided, so nothing is dialled"
            cure = f"make room: with a full disk {worse}"
            findings.append(
                Finding(ok=False, what=f"the disk of {name} has {free >> 20} MiB left", cure=cure, warning=True)
            )
    return findings


def _unwritable(folder: Path) -> Path | None:
    """What stands in the way of files in a folder that may have to be made first."""
    there = _there(folder)
    return None if there.is_dir() and os.access(there, os.W_OK | os.X_OK) else there


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that is there for us."""
    return next(one for one in (folder, *folder.absolute().parents) if is_there(one))


def is_there(path: Path) -> bool:
    """Not so where a folder above it may not be entered."""
    try:
        return path.exists()
    except OSError:
        return False


async def _address(http: Http) -> Finding:
    """Whether it can be listened on; taken by the service itself is as it should be."""
    where = f"{http.host} port {http.port}"
    try:
        found = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and await _is_ours(http):
            return Finding(ok=True, what=f"HTTP: the service is running at {where}")
        taken = error.errno == errno.EADDRINUSE
        why = "something else listens there" if taken else str(error)
        return Finding(ok=False, what=f"HTTP: {where}: {why}", cure="name another host or port in [http]")
    return Finding(ok=True, what=f"HTTP: {where} is free")


async def _is_ours(http: Http) -> bool:
    url = f"{address_here(http)}/readyz"
    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return "ready" in await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError, TypeError):
        return False
