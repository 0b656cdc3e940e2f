"""The proof of requirements: given tests that name ids, when they run, then each line gets the verdict it deserves."""

import subprocess
import sys
from pathlib import Path

import pytest

from simulations.requirements import LINE, ROOT, Proof, ids_in

DOCUMENT = """
| id | requirement |
|---|---|
| TF-01 | passes |
| TF-02 | fails in one case of two |
| TF-03 | is skipped |
| TF-04 | has no test |
| TF-05 | passes here, skipped there |
| TF-06 | is expected to fail |
"""

TESTS = '''
"""A module that speaks of TF-04 claims nothing by it."""
import pytest

def test_tf_01_by_name(): pass

@pytest.mark.parametrize("case", [1, 2])
def test_by_docstring(case):
    """TF-02: and more words."""
    assert case == 1

@pytest.mark.skip(reason="not here")
def test_tf_03(): pass

class TestThing:
    def test_tf_05_here(self): pass

    @pytest.mark.skip(reason="not here")
    def test_tf_05_there(self): pass

@pytest.mark.xfail
def test_tf_06(): assert False

def test_that_names_nothing(): assert False
'''


def proved(folder: Path, tests: str, *, run: bool = True) -> tuple[int, list[str]]:
    (folder / "requirements.md").write_text(DOCUMENT, "utf-8")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_sample.py").write_text(tests, "utf-8")
    program = (
        "import sys; from pathlib import Path; from simulations.requirements import prove; folder = Path(sys.argv[1]);"
        "sys.exit(prove(folder / 'requirements.md', folder / 'tests', run=sys.argv[2] == 'run',"
        " options=['-c', '/dev/null', f'--rootdir={folder}', '-p', 'no:cacheprovider']))"
    )
    command = [sys.executable, "-c", program, str(folder), "run" if run else "map"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout.splitlines()


def test_each_line_gets_the_verdict_it_deserves(tmp_path: Path) -> None:
    code, lines = proved(tmp_path, TESTS)
    verdicts = {line[:5]: line[7:15].strip() for line in lines if line.startswith("TF-")}
    assert verdicts == {
        "TF-01": "proved",
        "TF-02": "failed",
        "TF-03": "skipped",
        "TF-04": "no test",
        "TF-05": "proved",
        "TF-06": "skipped",
    }
    assert lines[-1] == "requirements: 2 of 6 proved"
    assert any("passed" in line and line.endswith("::test_tf_01_by_name") for line in lines)
    assert not any("test_that_names_nothing" in line for line in lines)
    assert code == 1


def test_mapping_runs_nothing_and_proves_nothing(tmp_path: Path) -> None:
    code, lines = proved(tmp_path, TESTS, run=False)
    assert code == 0
    assert lines[-1] == "requirements: 0 of 6 proved"
    assert sum("not run" in line and "::" in line for line in lines) == 6


def test_an_id_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    code, lines = proved(tmp_path, "def test_tf_77(): pass\n")
    assert code == 1
    assert any(line.startswith("TF-77") for line in lines)


def test_a_file_that_cannot_be_imported_is_an_error(tmp_path: Path) -> None:
    code, _ = proved(tmp_path, "import nothing_of_that_name\n")
    assert code == 1


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("test_tf_11_stop", {"TF-11"}),
        ("TF-11 and EX-01.", {"TF-11", "EX-01"}),
        ("sg_123 stuff_99 TF11 TF-1", set()),
        (None, set()),
    ],
    ids=["name", "docstring", "near misses", "nothing"],  # never the texts: they would name requirements
)
def test_ids_are_read_exactly(text: str | None, ids: set[str]) -> None:
    assert ids_in(text) == ids


def test_a_proof_without_tests_says_so() -> None:
    assert Proof("TF-01", "x", ()).verdict == "no test"


def test_the_document_lists_every_requirement_once_in_order() -> None:
    ids = [id_ for id_, _ in LINE.findall((ROOT / "docs" / "requirements.md").read_text("utf-8"))]
    expected = {"TF": 38, "OM": 21, "SG": 22, "PV": 28, "EX": 13}
    assert ids == [f"{prefix}-{number:02}" for prefix, count in expected.items() for number in range(1, count + 1)]
