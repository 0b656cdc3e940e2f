"""What was done with a campaign's record as a whole: it was handed out.

Nothing here changes what a campaign is; it is written down so that nobody has it without a trace.
"""

import msgspec


class CampaignExported(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.exported.v1"):
    """Somebody was given everything of it, people's data among it. Durable before the first byte."""

    at: int
    ref: str
    by: str


class ExportCampaign(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    ref: str
    by: str
