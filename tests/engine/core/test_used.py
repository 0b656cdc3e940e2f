"""Which campaign used a ref first, against a dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from engine.core.used import UsedRefs

CAMPAIGNS = st.integers(0, 5).map(lambda number: f"campaign-{number}")
REFS = st.integers(0, 60).map(lambda number: f"crm:{number}")


@given(st.lists(st.tuples(CAMPAIGNS, st.lists(REFS, max_size=20)), max_size=30))
def test_a_ref_stays_with_the_campaign_that_used_it_first(uses: list[tuple[str, list[str]]]) -> None:
    used, model = UsedRefs(), dict[str, str]()
    for campaign, refs in uses:
        used.use(refs, campaign)
        model = dict.fromkeys(refs, campaign) | model
    again = UsedRefs(used.still())
    for one in (used, again):
        assert {ref: one.get(ref, "") for ref in model} == model
        assert len(one) == len(model)
        assert one.get("another", "none") == "none"
    again.use(["another"], "campaign-9")
    assert (again.get("another", ""), used.get("another", "")) == ("campaign-9", "")
