"""Contact files, CSV and XLSX: checked whole in a process of its own, shown, confirmed, stored in small steps."""

from adapters.importer.importer import Importer
from adapters.importer.limits import ImportLimits

__all__ = ["ImportLimits", "Importer"]
