"""Who of the agents works which contacts: shares by weight, dealt out evenly, kept even as agents come and go.

Everything here is arithmetic on counts and places: the same agents, weights, contacts and seed give the same split.
"""

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heapreplace

_MASK = (1 << 64) - 1


def shares(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """`total` split by weight: everybody gets the exact quota rounded down, the largest remainders one more.

    Equal remainders go to the agents named first. No share is off its exact quota by one or more.
    """
    whole = sum(weights.values())
    if whole == 0:
        return {}
    split = {agent: total * weight // whole for agent, weight in weights.items()}
    left = total - sum(split.values())
    by_remainder = sorted(weights, key=lambda agent: -(total * weights[agent] % whole))  # stable: first named first
    for agent in by_remainder[:left]:
        split[agent] += 1
    return split


def dealt(counts: Mapping[str, int]) -> Iterator[str]:
    """Each agent as often as counted, interleaved: whoever has got the least of their count is next."""
    order = [(_Turn(1, 2 * count, place), agent) for place, (agent, count) in enumerate(counts.items()) if count]
    heapify(order)
    while order:
        turn, agent = order[0]
        yield agent
        following = _Turn(turn.done + 2, turn.of, turn.place)
        if following.done < following.of:
            heapreplace(order, (following, agent))
        else:
            heappop(order)


class _Turn:
    """How far an agent's count is dealt: (2k + 1) ÷ 2n, compared without rounding."""

    __slots__ = ("done", "of", "place")

    def __init__(self, done: int, of: int, place: int) -> None:
        self.done, self.of, self.place = done, of, place

    def __lt__(self, other: "_Turn") -> bool:
        mine, theirs = self.done * other.of, other.done * self.of
        return self.place < other.place if mine == theirs else mine < theirs


def shuffled(agents: list[str], seed: int) -> list[str]:
    """In an order that the seed alone decides, on every machine and for ever (splitmix64)."""
    return [agent for _, _, agent in sorted((_mixed(seed + place), place, agent) for place, agent in enumerate(agents))]


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
