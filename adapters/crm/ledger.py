"""What has become of each interaction, folded from the log `crm`.

The newest attempt of each is kept as long as its campaign is there: as many as the calls that the campaign's book keeps.
"""

from collections import defaultdict
from collections.abc import Collection

from adapters.crm.event import CrmEvent, InteractionTried

Key = tuple[str, int]
"""Campaign, and position in its log."""


class Ledger:
    def __init__(self) -> None:
        self._newest: defaultdict[str, dict[int, InteractionTried]] = defaultdict(dict)
        """By campaign, and position in its log."""
        self._of_call: defaultdict[str, dict[Key, None]] = defaultdict(dict)

    def apply(self, event: CrmEvent) -> None:
        self._newest[event.campaign][event.pos] = event
        if event.call:
            self._of_call[event.call][event.campaign, event.pos] = None

    def newest(self, campaign: str, pos: int) -> InteractionTried | None:
        known = self._newest.get(campaign)
        return known.get(pos) if known is not None else None

    def of_call(self, call: str) -> list[InteractionTried]:
        return [self._newest[campaign][pos] for campaign, pos in self._of_call.get(call, ())]

    def keep(self, campaigns: Collection[str]) -> None:
        """Forget those of campaigns that are gone."""
        for campaign in [one for one in self._newest if one not in campaigns]:
            self.forget(campaign)

    def forget(self, campaign: str) -> None:
        """Its campaign is gone, and whoever asked for a call of it is told that there is none."""
        for gone in self._newest.pop(campaign, {}).values():
            self._of_call.pop(gone.call, None)
