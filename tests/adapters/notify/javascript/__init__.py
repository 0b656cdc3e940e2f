"""The JavaScript library of Standard Webhooks, run by node: pinned with its hashes, set up in the user's cache."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from simulations.asterisk.installation import cache_folder

HERE = Path(__file__).parent
INSTALL_WITHIN_S, RUN_WITHIN_S = 120, 30


def installed() -> Path:
    """The folder with `node_modules`. Skips the test, saying why, where there is no node or npm."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} on this machine: apt-get install nodejs npm")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = cache_folder() / f"javascript-{hashlib.sha256(lock).hexdigest()[:16]}"
    if (folder / "done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "done").touch()
    return folder


class JavaScriptWebhook:
    def __init__(self, packages: Path) -> None:
        self._packages = packages

    def verify(self, cases: Sequence[tuple[str, bytes, Mapping[str, str]]]) -> list[bool]:
        """For each secret, body and headers: whether the library takes it."""
        lines = [json.dumps({"secret": secret, "body": body.decode(), "headers": dict(h)}) for secret, body, h in cases]
        done = subprocess.run(
            ["node", str(HERE / "verify.mjs"), str(self._packages)],
            input="\n".join(lines),
            capture_output=True,
            text=True,
            timeout=RUN_WITHIN_S,
            check=True,
        )
        return [one == "taken" for one in done.stdout.split()]
