"""The log: a conditional segment store, its one owner, and what reads it."""

from eventstore.codec import BrokenSeal, Codec, UnencodableEvent, UnknownEvent
from eventstore.installation import Store, archived_in, copy, dump, open_store, restore, verify
from eventstore.packing import DamagedSegment
from eventstore.transfer import TransferRefused

__all__ = [
    "BrokenSeal",
    "Codec",
    "DamagedSegment",
    "Store",
    "TransferRefused",
    "UnencodableEvent",
    "UnknownEvent",
    "archived_in",
    "copy",
    "dump",
    "open_store",
    "restore",
    "verify",
]
