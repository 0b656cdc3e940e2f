"""The score of mutation testing is counted from what the tool said: what no test noticed, or ran, has survived."""

from simulations.mutation.command import scored, survivors

SAID = """
    engine.core.gate.x_forbidden__mutmut_1: killed
    engine.core.gate.x_forbidden__mutmut_2: survived
    engine.core.gate.x_opens_at__mutmut_1: no tests
    engine.core.gate.x_opens_at__mutmut_2: timeout
    engine.core.claims.xǁClaimsǁadopt__mutmut_1: killed
    engine.core.claims.xǁClaimsǁadopt__mutmut_2: not checked
"""


def test_a_modules_score_is_its_killed_of_those_that_were_tried() -> None:
    found = {name: (one.killed, one.survived, one.untried, one.share) for name, one in scored(SAID).items()}
    assert found == {"engine.core.claims": (1, 0, 1, 1.0), "engine.core.gate": (2, 2, 0, 0.5)}


def test_survivors_are_named() -> None:
    assert survivors(SAID) == [
        "engine.core.gate.x_forbidden__mutmut_2: survived",
        "engine.core.gate.x_opens_at__mutmut_1: no tests",
    ]
