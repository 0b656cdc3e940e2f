"""The log: a conditional segment store, its one owner, and what reads it."""

from eventstore.codec import Codec, UnknownEvent
from eventstore.installation import Store, dump, open_store, verify

__all__ = ["Codec", "Store", "UnknownEvent", "dump", "open_store", "verify"]
