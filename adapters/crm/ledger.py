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
        self._newest: dict[Key, InteractionTried] = {}
        self._of_call: defaultdict[str, dict[Key, None]] = defaultdict(dict)

    def apply(self, event: CrmEvent) -> None:
        key = (event.campaign, event.pos)
        self._newest[key] = event
        if event.call:
            self._of_call[event.call][key] = None

    def newest(self, campaign: str, pos: int) -> InteractionTried | None:
        return self._newest.get((campaign, pos))

    def of_call(self, call: str) -> list[InteractionTried]:
        return [self._newest[key] for key in self._of_call.get(call, ())]

    def keep(self, campaigns: Collection[str]) -> None:
        """Forget those of campaigns that are gone."""
        for key in [one for one in self._newest if one[0] not in campaigns]:
            gone = self._newest.pop(key)
            self._of_call.pop(gone.call, None)
