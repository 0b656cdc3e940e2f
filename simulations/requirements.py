"""Which requirement is proved by which test: `python -m simulations requirements`.

A test proves a line of docs/requirements.md by naming its id in its own name (`test_tf_11_…`) or docstring (`TF-11`). A
module's docstring doesn't count: it would claim for every test in the file. Proved means that at least one such test
passed and none failed; a requirement whose tests were all skipped is not proved.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"^\| ([A-Z]{2}-[0-9]{2}) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"(?<![A-Za-z0-9])(TF|OM|SG|PV|EX)[-_]([0-9]{2})(?![0-9])", re.IGNORECASE)
LINE_WIDTH_CHARS = 150


class Proof(msgspec.Struct, frozen=True):
    """One requirement, and the tests that name it with their result: passed, failed, skipped, not run."""

    id: str
    text: str
    tests: tuple[tuple[str, str], ...]

    @property
    def verdict(self) -> str:
        results = {result for _, result in self.tests}
        for verdict in ("failed", "passed", "skipped", "not run"):
            if verdict in results:
                return "proved" if verdict == "passed" else verdict
        return "no test"


class Witness:
    """A pytest plugin: keeps the tests that name a requirement, drops the others, notes the results."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}
        self.results: dict[str, str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        for item in items:
            named = ids_in(item.nodeid.partition("::")[2], getattr(getattr(item, "obj", None), "__doc__", None))
            if named:
                self.names[item.nodeid] = named
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in self.names])
        items[:] = [item for item in items if item.nodeid in self.names]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.results[report.nodeid] = "failed"
        elif report.skipped:  # also an expected failure: it proves nothing yet
            self.results.setdefault(report.nodeid, "skipped")
        elif report.when == "call":
            self.results.setdefault(report.nodeid, "passed")


def main(*, run: bool = True) -> int:
    """Print every requirement with its tests and their results. `--no-run` only maps. Exit code 1 if a test failed."""
    return prove(ROOT / "docs" / "requirements.md", ROOT / "tests", run=run)


def prove(document: Path, tests: Path, *, run: bool, options: Sequence[str] = ()) -> int:
    required = dict(LINE.findall(document.read_text("utf-8")))
    witness = Witness()
    arguments: list[Any] = ["-q", "--no-header", "--tb=short", *options, str(tests)]
    code = pytest.main(arguments if run else ["--collect-only", "-qq", *arguments], plugins=[witness])
    proofs = assemble(required, witness.names, witness.results)
    unknown = sorted({id_ for ids in witness.names.values() for id_ in ids} - required.keys())
    print()
    for line in report(proofs):
        print(line)
    for id_ in unknown:
        print(f"{id_}  named by a test, but there is no such requirement")
    print(f"requirements: {sum(proof.verdict == 'proved' for proof in proofs)} of {len(proofs)} proved")
    return int(bool(unknown) or code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED))


def ids_in(*texts: str | None) -> set[str]:
    return {f"{found[1].upper()}-{found[2]}" for text in texts if text for found in NAMED.finditer(text)}


def assemble(
    required: Mapping[str, str], names: Mapping[str, Iterable[str]], results: Mapping[str, str]
) -> Sequence[Proof]:
    tests: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
    for node, ids in names.items():
        for id_ in ids:
            # the cases of a parametrised test are one test here, as good as its worst case
            tests[id_].setdefault(node.partition("[")[0], []).append(results.get(node, "not run"))
    return tuple(
        Proof(id_, text, tuple((test, worst(cases)) for test, cases in sorted(tests[id_].items())))
        for id_, text in required.items()
    )


def worst(results: Sequence[str]) -> str:
    for result in ("failed", "passed", "skipped"):
        if result in results:
            return result
    return "not run"


def report(proofs: Iterable[Proof]) -> Iterable[str]:
    for proof in proofs:
        head = f"{proof.id}  {proof.verdict:8}  {proof.text}".replace(r"\|", "|")
        yield head if len(head) <= LINE_WIDTH_CHARS else head[: LINE_WIDTH_CHARS - 1] + "…"
        for test, result in proof.tests:
            yield f"       {result:8}  {test}"
