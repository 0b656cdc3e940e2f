"""Given batches of many campaigns in any interleaving, then positions and sequence numbers have no gap and say the same."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.notify.event import FeedMerged
from adapters.notify.order import MAX_JOINED_NOTIFICATIONS, Order

Batch = tuple[str, int, int]
"""Campaign, silent events before, notifications."""
BATCHES = st.lists(
    st.tuples(st.sampled_from(["campaign/a", "campaign/b", "campaign/c"]), st.integers(0, 3), st.integers(1, 150)),
    max_size=40,
)


def fold(batches: list[Batch]) -> tuple[Order, list[tuple[str, int, int]]]:
    """The order, and (log, seq, pos) by n as a plain list: what it must agree with."""
    order, plain = Order(), []
    for log, silent, count in batches:
        known = order.log(log)
        first_pos, first_seq = known.merged_pos + 1, known.seq + 1
        plain += [(log, first_seq + i, first_pos + silent + i) for i in range(count)]
        last_pos = first_pos + silent + count - 1
        order.extend(FeedMerged(log=log, first_pos=first_pos, last_pos=last_pos, first_seq=first_seq, count=count))
    return order, plain


@given(BATCHES)
def test_every_position_is_found_in_its_range(batches: list[Batch]) -> None:
    order, plain = fold(batches)
    assert order.position == len(plain)
    for n, (log, seq, pos) in enumerate(plain, 1):
        within = order.at_n(n)
        assert within.log == log
        assert within.first_n + seq - within.first_seq == n
        assert within.first_pos <= pos <= within.last_pos
        assert within.count <= MAX_JOINED_NOTIFICATIONS
        assert order.logs[log].n_of(seq) == n


@given(BATCHES, st.integers(0, 3_000))
def test_what_lies_behind_a_position_is_found_per_campaign(batches: list[Batch], n: int) -> None:
    order, plain = fold(batches)
    for log, known in order.logs.items():
        behind = [(at, seq, pos) for at, (name, seq, pos) in enumerate(plain, 1) if name == log and at > n]
        within = known.after_n(n)
        assert (within is not None) == bool(behind)
        assert (known in list(order.logs_after(n))) == bool(behind)
        if within is not None:
            first_n, first_seq, first_pos = behind[0]
            assert within.first_n <= first_n <= within.last_n
            assert known.seq_before(first_pos - 1) < first_seq


def test_an_order_that_leaves_something_out_is_refused() -> None:
    order, _ = fold([("campaign/a", 0, 5)])
    for gap in (
        FeedMerged(log="campaign/a", first_pos=7, last_pos=8, first_seq=6, count=1),
        FeedMerged(log="campaign/a", first_pos=6, last_pos=8, first_seq=7, count=1),
        FeedMerged(log="campaign/a", first_pos=5, last_pos=8, first_seq=6, count=1),
    ):
        try:
            order.extend(gap)
        except ValueError:
            continue
        raise AssertionError(f"{gap} was taken")
