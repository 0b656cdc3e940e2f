"""How numbers stand, whichever campaign asks: do-not-call lists, and how often it was dialled of late.

Lists come from the directory's log, attempts are looked up in all campaigns' books; both are kept by line, the form that two
ways to write the same number have in common.
"""

from collections.abc import Callable, Iterable

from engine.core.recent import REMEMBERED_MS, Recent, Times
from engine.core.table import digest

EVERYWHERE = "global"
SUPPRESSED = "suppressed"
"""The list of numbers that nobody knows any more: of each there is a digest, to know it by when it comes again."""


def line_of(number: str) -> str:
    """What two ways to write the same number have in common."""
    return number.removeprefix("+")


def list_of(campaign: str) -> str:
    """The name of a campaign's own list."""
    return f"campaign/{campaign}"


def list_chosen(choice: str, campaign: str) -> str:
    """The name of the list that a campaign's disposition means: the one for all campaigns, or the campaign's own."""
    return EVERYWHERE if choice == EVERYWHERE else list_of(campaign)


class Standing:
    def __init__(self) -> None:
        self.lists: dict[str, dict[str, int]] = {}
        """By list: lines, each with the time until which it stands there (epoch ms, 0 for ever)."""
        self.versions: dict[str, int] = {}
        """By list: how often it was changed."""
        self.salt = ""
        self.digests: set[str] = set()
        """Of the lines on the list SUPPRESSED, made with the salt."""
        self.digest: Callable[[str, str], str] | None = None
        """(salt, line) to digest: the shell's, for the core has no such arithmetic."""
        self._coming: dict[str, dict[tuple[str, str], None]] = {}
        """By line: lists that are about to have it, each with the contact whose disposition says so."""
        self.recent: dict[str, Recent] = {}
        """By campaign: its book's own."""
        self.gone: dict[str, tuple[int, Recent]] = {}
        """The same of campaigns that were deleted, each with the time of it."""

    def listed(self, number: str, campaign: str, at: int) -> tuple[str, int] | None:
        """The list that forbids a number, and its version."""
        line = line_of(number)
        for name in (EVERYWHERE, list_of(campaign)):
            until = self.lists.get(name, {}).get(line)
            if until is not None and (until == 0 or at < until):
                return name, self.versions[name]
            if any(coming == name for coming, _ in self._coming.get(line, ())):
                return name, self.versions.get(name, 0)
        return (SUPPRESSED, self.versions[SUPPRESSED]) if self.suppressed(line) else None

    def suppressed(self, line: str) -> bool:
        """Who can't tell, forbids."""
        return bool(self.digests) and (self.digest is None or self.digest(self.salt, line) in self.digests)

    def suppress(self, salt: str, digests: tuple[str, ...], version: int) -> None:
        self.salt = salt
        self.digests.update(digests)
        self.versions[SUPPRESSED] = version

    def put(self, name: str, numbers: tuple[str, ...], until: int, version: int) -> None:
        standing = self.lists.setdefault(name, {})
        standing.update((line_of(number), until) for number in numbers)
        self.versions[name] = version

    def remove(self, name: str, numbers: tuple[str, ...], version: int) -> None:
        standing = self.lists.setdefault(name, {})
        for number in numbers:
            standing.pop(line_of(number), None)
        self.versions[name] = version

    def announce(self, name: str, contact: str, numbers: Iterable[str]) -> None:
        """Numbers of a contact that are on their way to a list: they are forbidden already."""
        for line in map(line_of, numbers):
            self._coming.setdefault(line, {})[name, contact] = None

    def arrived(self, name: str, contact: str, numbers: Iterable[str]) -> None:
        """They stand there by now."""
        for line in map(line_of, numbers):
            coming = self._coming.get(line, {})
            coming.pop((name, contact), None)
            if not coming:
                self._coming.pop(line, None)

    def recall(self, campaign: str, retired_at: int, attempts: Iterable[tuple[str, int]]) -> None:
        """Attempts in a campaign that is gone: numbers, and when they were dialled, in that order."""
        recent = Recent()
        for number, at in attempts:
            recent.add(line_of(number), at)
        self.gone[campaign] = retired_at, recent

    def retire(self, campaign: str, at: int) -> None:
        """A campaign is deleted: its attempts count for as long as any."""
        self.gone = {ref: one for ref, one in self.gone.items() if one[0] > at - REMEMBERED_MS}
        if campaign in self.recent:
            self.gone[campaign] = at, self.recent.pop(campaign)

    def attempts(self, number: str, since: int) -> int:
        """How often a number was dialled after a time, by any campaign."""
        return sum(when > since for times in self._times(number) for when in times)

    def last_attempt(self, number: str) -> int:
        """When it was dialled last, by any campaign; 0 for never."""
        return max((when for times in self._times(number) for when in times), default=0)

    def _times(self, number: str) -> list[Times]:
        line = line_of(number)
        name = digest(line)
        books = (*self.recent.values(), *(one for _, one in self.gone.values()))
        return [one.times(line) for one in books if one.has(*name)]
