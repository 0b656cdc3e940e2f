"""A small campaign manager, written to the letter of the integration guide: what an integrator may start from.

Tests use it as the judge of what notifications promise.
"""

from simulations.manager.judge import Judge
from simulations.manager.manager import CampaignManager
from simulations.manager.overview import Overview, Row

__all__ = ["CampaignManager", "Judge", "Overview", "Row"]
