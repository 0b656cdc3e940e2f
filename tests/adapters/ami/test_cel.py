from pathlib import Path

import pytest

from adapters.ami import cel
from engine.core.telephony import LegEnded

LEG, OTHER = "1" * 32, "2" * 32
CHANNEL = "PJSIP/carrier-00000001"


def row(leg: str, event: str, extra: str = "", channel: str = CHANNEL) -> str:
    return ",".join(f'"{field}"' for field in (leg, event, "1795404603", extra.replace('"', '""'), channel)) + "\n"


def hangup(cause: int, source: str) -> str:
    return f'{{"hangupcause":{cause},"hangupsource":"{source}","dialstatus":""}}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ringfold.csv"


def ended(cause: int, answered: bool, far_end: bool) -> LegEnded:
    return LegEnded(
        leg=LEG, at=7, cause=cause, sip_code=0, answered=answered, ringing=False, far_end=far_end, later=True
    )


def test_an_answered_leg_that_let_go(file: Path) -> None:
    file.write_text(row(LEG, "CHAN_START") + row(LEG, "ANSWER") + row(LEG, "HANGUP", hangup(16, CHANNEL)))

    assert cel.endings(str(file), frozenset([LEG, OTHER]), 7) == {LEG: ended(16, answered=True, far_end=True)}


@pytest.mark.parametrize("source", ["", "PJSIP/agent1-00000002", "dialplan/builtin"])
def test_an_unanswered_leg_that_others_let_go(file: Path, source: str) -> None:
    file.write_text(row(LEG, "CHAN_START") + row(LEG, "HANGUP", hangup(17, source)))

    assert cel.endings(str(file), frozenset([LEG]), 7) == {LEG: ended(17, answered=False, far_end=False)}


def test_a_leg_without_a_hangup_has_not_ended(file: Path) -> None:
    file.write_text(row(LEG, "CHAN_START") + row(LEG, "ANSWER"))

    assert cel.endings(str(file), frozenset([LEG]), 7) == {}


def test_a_row_still_being_written_is_not_read(file: Path) -> None:
    file.write_text(row(LEG, "HANGUP", hangup(16, "")).rstrip("\n"))

    assert cel.endings(str(file), frozenset([LEG]), 7) == {}


@pytest.mark.parametrize("extra", ["", "{", "[]", '{"hangupcause":"x"}', "\0"])
def test_an_extra_that_is_no_json_leaves_the_cause_unknown(file: Path, extra: str) -> None:
    file.write_text(row(LEG, "HANGUP", extra))

    assert cel.endings(str(file), frozenset([LEG]), 7) == {LEG: ended(0, answered=False, far_end=False)}


def test_only_the_tail_is_read_and_its_first_broken_row_is_skipped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = row(LEG, "HANGUP", hangup(16, ""))
    monkeypatch.setattr(cel, "CEL_TAIL_MAX_BYTES", len(last) + 30)
    file.write_text(row(OTHER, "HANGUP", hangup(17, "")) * 100 + last)

    assert cel.endings(str(file), frozenset([LEG, OTHER]), 7) == {LEG: ended(16, answered=False, far_end=False)}


def test_bytes_that_are_no_text_are_survived(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\0\n,,\n" + row(LEG, "HANGUP", hangup(16, "")).encode())

    assert set(cel.endings(str(file), frozenset([LEG]), 7)) == {LEG}
