"""The rules of the house that no file can keep by itself: directions, purity, packaging, what may be committed."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "adapters", "eventstore", "api", "config", "simulations")
OURS = (*PACKAGES, "tests")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (ROOT / "requirements.lock").read_text("utf-8")

PURE = frozenset(
    {
        "__future__",
        "array",
        "abc",
        "bisect",
        "collections",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "math",
        "msgspec",
    }
    | {"operator", "re", "typing"}
)
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint", "globals"})

# Who may import what of ours. The longest matching place counts; what isn't listed (simulations, tests) may import all.
MAY_IMPORT = {
    "engine/core/": ("engine.core",),
    "engine/ports.py": ("engine.core",),
    "engine/": ("engine",),
    "engine/__main__.py": ("engine.ports", "engine.command"),
    "engine/command/": ("engine", "api", "adapters", "eventstore", "config"),
    "engine/service.py": ("engine", "api", "adapters", "eventstore", "config"),
    "eventstore/": ("eventstore", "engine.ports", "engine.core"),
    "adapters/": ("adapters", "engine.ports", "engine.trace", "engine.core"),
    "api/": ("api", "engine"),
    "config/": ("config",),
}
# Simulations are started from the command line and by tests; the whole service is run by nobody else.
NEVER_FROM_OUTSIDE = {
    "engine.__main__": ("tests/",),
    "engine.command": ("engine/__main__.py", "engine/command/", "tests/"),
    "engine.service": ("engine/command/", "simulations/", "tests/"),
    "tests": ("tests/",),
    "simulations": ("simulations/", "tests/"),
}

NOT_OUR_WORDS = ("Manager", "Helper", "Util", "Utils")

# Written so that this file doesn't find itself.
FORBIDDEN_TEXT = {
    "a path of one machine": re.compile(rb"(?<![\w.$}])/(?:wor[k]|roo[t]|tm[p]|hom[e]|User[s])/[\w.]"),
    "a package registry's or mirror's host": re.compile(
        rb"\b(?:pypi\.or[g]|pythonhosted\.or[g]|registry\.npmjs\.or[g]|registry\.yarnpkg\.co[m]|proxy\.golang\.or[g]"
        rb"|crates\.i[o]|(?:deb|security|snapshot)\.debian\.or[g]|archive\.ubuntu\.co[m]|index\.docker\.i[o])\b"
    ),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KE[Y]-----"),
    "a merge left half done": re.compile(rb"^(?:<{7}|>{7}) ", re.MULTILINE),
}
MADE_HERE = {".git", ".venv", ".tools", "__pycache__", "node_modules", "var", "build", "dist", "ringfold.toml"} | {
    f".{tool}_cache" for tool in ("pytest", "mypy", "ruff", "import_linter")
}
BINARY_OR_FOREIGN = (".raw", ".db", ".png", ".ico", ".wav", ".gz", ".zst", ".xlsx", ".woff2", ".zdict")


@cache
def committed() -> tuple[str, ...]:
    """What git tracks; in an unpacked archive, or without git, whatever is not made by running or building."""
    try:
        command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        names = [path.as_posix() for path in found if not MADE_HERE & set(path.parts)]
    return tuple(name for name in names if name and (ROOT / name).is_file())


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_bytes(), str(path))


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


# -- directions and purity ------------------------------------------------------------------------------------------


def refused_imports(place: str, tree: ast.Module) -> list[str]:
    rule = max((known for known in MAY_IMPORT if place.startswith(known)), key=len, default=None)
    found = []
    for line, module in imported(tree):
        if not within(module, OURS):
            continue
        outside = any(within(module, (name,)) and not place.startswith(ok) for name, ok in NEVER_FROM_OUTSIDE.items())
        if outside or (rule and not within(module, MAY_IMPORT[rule])):
            found.append(f"{place}:{line} imports {module}")
    return found


def impurities(place: str, tree: ast.Module) -> list[str]:
    found = [
        f"{place}:{line} imports {module}"
        for line, module in imported(tree)
        if module.partition(".")[0] not in PURE and not within(module, ("engine.core",))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"{place}:{node.lineno} calls {node.func.id}")
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.Global | ast.AsyncFor | ast.AsyncWith):
            found.append(f"{place}:{node.lineno} has {type(node).__name__}")
    return found


def test_dependencies_point_one_way() -> None:
    assert not [fault for place, tree in sources(*OURS) for fault in refused_imports(place, tree)]


def test_the_core_has_no_clock_no_chance_and_no_io() -> None:
    assert not [fault for place, tree in sources("engine/core") for fault in impurities(place, tree)]


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("eventstore/log.py", "from engine.app import App"),
        ("eventstore/log.py", "from engine import app"),
        ("adapters/ami/client.py", "import eventstore.log"),
        ("api/routes.py", "from eventstore import sqlite"),
        ("api/routes.py", "from engine.__main__ import main"),
        ("config/settings.py", "from engine.core import call"),
        ("engine/ports.py", "from engine.app import App"),
        ("engine/core/call.py", "from engine.ports import Clock"),
        ("engine/app.py", "from adapters.ami import telephony"),
        ("engine/app.py", "import config.settings"),
        ("engine/app.py", "from engine.service import Service"),
        ("engine/service.py", "from engine.command import serve"),
        ("engine/command/serve.py", "from simulations import demo"),
        ("simulations/demo.py", "from engine.command import serve"),
        ("simulations/demo.py", "from tests import conftest"),
    ],
)
def test_a_wrong_direction_is_found(place: str, code: str) -> None:
    assert refused_imports(place, ast.parse(code))


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("eventstore/log.py", "from engine.ports import EventLog"),
        ("engine/service.py", "from config.settings import Settings"),
        ("engine/command/terminal.py", "from config.settings import load"),
        ("simulations/world.py", "from engine.app import App"),
        ("engine/app.py", "import msgspec"),
    ],
)
def test_a_right_direction_is_let_through(place: str, code: str) -> None:
    assert not refused_imports(place, ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "from random import Random",
        "import asyncio",
        "import logging",
        "import os.path",
        "from datetime import datetime",
        "print('x')",
        "open('x')",
        "async def f(): ...",
        "def f():\n    global x",
        "from engine import ports",
    ],
)
def test_an_impurity_is_found(code: str) -> None:
    assert impurities("engine/core/call.py", ast.parse(code))


def test_names_are_words_of_the_field() -> None:
    classes = [
        f"{place}: class {node.name}"
        for place, tree in sources(*OURS)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith(NOT_OUR_WORDS)
        # "manager" is Asterisk's own word for a client of its interface; who runs campaigns is one by profession
        if node.name != "Manager" or not place.startswith(("adapters/ami/", "simulations/pbx/"))
        if node.name != "CampaignManager"
    ]
    files = [
        place for place, _ in sources(*OURS) if Path(place).stem in ("utils", "util", "helpers", "helper", "common")
    ]
    assert not classes + files


# -- packaging ------------------------------------------------------------------------------------------------------


def test_our_packages_are_ours() -> None:
    """Their names are generic: an installed package of the same name must not win."""
    for name in OURS:
        assert Path(str(import_module(name).__file__)).is_relative_to(ROOT), name


def test_every_folder_of_code_is_a_package_and_every_package_is_typed() -> None:
    folders = {Path(place).parent for place, _ in sources(*OURS)}
    assert not [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()]
    assert not [name for name in PACKAGES if not (ROOT / name / "py.typed").exists()]


def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {name for name in committed() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    assert not expected - held
    assert not [name for name in held if not name.startswith(tuple(f"{package}/" for package in PACKAGES))]


def distributions(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


DECLARED = distributions(PROJECT["project"]["dependencies"])
DECLARED_DEV = DECLARED | distributions(PROJECT["dependency-groups"]["dev"])


def test_every_third_party_import_is_declared() -> None:
    """What the product imports is a dependency of the product; simulations and tests may also use the dev group."""
    provided = packages_distributions()
    faults = []
    for place, tree in sources(*OURS):
        declared = DECLARED_DEV if place.startswith(("tests/", "simulations/")) else DECLARED
        for line, module in imported(tree):
            top = module.partition(".")[0]
            if top in sys.stdlib_module_names or top in OURS:
                continue
            if not {canonicalize_name(name) for name in provided.get(top, [])} & declared:
                faults.append(f"{place}:{line} imports {top}")
    assert not faults


def locked() -> dict[str, list[Requirement]]:
    pins: dict[str, list[Requirement]] = {}
    for line in LOCK.splitlines():
        if line and not line.startswith((" ", "#")):
            pin = Requirement(line.removesuffix(" \\"))
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def test_the_lock_covers_every_dependency_with_versions_that_fit() -> None:
    pins = locked()
    for text in (*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]):
        wanted = Requirement(text)
        versions = [spec.version for pin in pins.get(canonicalize_name(wanted.name), []) for spec in pin.specifier]
        assert versions, f"{wanted.name} is not in requirements.lock: make lock"
        assert all(wanted.specifier.contains(version) for version in versions), wanted.name


def test_the_lock_pins_by_hash_and_names_no_place() -> None:
    assert "://" not in LOCK
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", LOCK, re.MULTILINE)
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    assert not [entry.partition(" ")[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]


# -- what may be committed ------------------------------------------------------------------------------------------


def test_no_committed_file_names_a_machine_a_registry_or_a_secret() -> None:
    faults = [
        f"{name}: {what}: {found[0].decode(errors='replace')}"
        for name in committed()
        for what, pattern in FORBIDDEN_TEXT.items()
        if (found := pattern.search((ROOT / name).read_bytes()))
    ]
    assert not faults


def test_lines_end_in_lf_and_files_in_a_line() -> None:
    faults = []
    for name in committed():
        content = (ROOT / name).read_bytes()
        if name.endswith(BINARY_OR_FOREIGN) or "/recordings/" in name or not content:
            continue
        if b"\r\n" in content or not content.endswith(b"\n"):
            faults.append(name)
    assert not faults


def test_every_lint_ignore_is_explained_in_words() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    section = text[text.index("\nignore = [") : text.index("[tool.importlinter]")]
    rules = re.findall(r'^    "[A-Z]+[0-9]*",?(.*)$', section, re.MULTILINE)
    assert len(rules) > 10
    assert all(re.match(r"\s*# .*?\w+(\W+\w+){2,}|\s*# as [A-Z]+[0-9]+", words) for words in rules)


def test_links_between_documents_lead_somewhere() -> None:
    faults = []
    for name in committed():
        if not name.endswith(".md"):
            continue
        text = (ROOT / name).read_text("utf-8")
        targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
        faults += [f"{name} → {target}" for target in targets if not (ROOT / name).parent.joinpath(target).exists()]
    assert not faults


def test_decisions_are_numbered_without_gaps_and_have_their_three_parts() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [path.name[:4] for path in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for path in records:
        headings = re.findall(r"^## (.+)$", path.read_text("utf-8"), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"], path.name
