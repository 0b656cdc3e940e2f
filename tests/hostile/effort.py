"""How hard the fuzzers try: the same few cases in every run of the suite, many fresh ones with `make fuzz`."""

import os

from hypothesis import HealthCheck, settings

FUZZ_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
"""Cases for each test, drawn anew in each run; 0 is the suite's own few, which are the same every time."""


def effort(cases: int) -> settings:
    """`cases` in the suite; a test with a socket or a file in each case wants few."""
    return settings(
        max_examples=max(cases, FUZZ_EXAMPLES),
        derandomize=not FUZZ_EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
