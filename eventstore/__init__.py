"""The log: a conditional segment store, its one owner, and what reads it."""

from eventstore.codec import BrokenSeal, Codec, UnencodableEvent, UnknownEvent
from eventstore.installation import Store, dump, open_store, verify

__all__ = ["BrokenSeal", "Codec", "Store", "UnencodableEvent", "UnknownEvent", "dump", "open_store", "verify"]
