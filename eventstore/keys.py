"""The keys of personal data, by subject: a table for each log, which its snapshot writes down and a start takes as it is.

A subject belongs to one log: a contact's ref is used by one campaign, and what else there is has a name of its own. Should
logs of two kinds know one all the same, they seal under one key, and each has it in its table.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from threading import Lock

from engine.core.blocks import Blocks
from engine.core.table import Table

KEY_BYTES = 32
MERGED_BUCKETS = 16
"""Of another table at a time: whoever needs a key meanwhile waits so long."""


class Keys:
    """Of those who were erased it is known that they have none. From any thread.

    None is ever forgotten while the process lives: a subject whose key isn't here has none anywhere, and gets one. A new
    key goes into the store with every segment that uses it until one of them is durable: which of several logs commits first
    is not known. Only then it comes into a table, whose snapshot says of a key that it needn't be written again.
    """

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Table]] = {}
        """By kind of log, what stands before the slash of its name, and by log. What belongs to none has one named ""."""
        self._unsaved: dict[str, bytes] = {}
        """Of all logs: not known to be durable."""
        self._erased: dict[str, str] = {}
        """Each with the log that knew it, "" where none did, or several."""
        self._lock = Lock()
        """A table that is being changed lacks for moments what it has."""

    # -- one log's ----------------------------------------------------------------------------------------------------

    def missing(self, log: str, subjects: Iterable[str]) -> list[str]:
        """Those of whom the log's table knows nothing, whatever others do: the store is to be asked."""
        with self._lock:
            table = self._of(log)
            return [one for one in subjects if one not in table and one not in self._erased]

    def learn(self, log: str, subjects: Iterable[str], found: Mapping[str, bytes]) -> None:
        """What the store said of some subjects: a key, or that there is none any more."""
        with self._lock:
            table = self._of(log)
            for one in subjects:
                if one in found:
                    self._know(table, one, found[one])
                elif self._known(log, one) is None:
                    self._erased.setdefault(one, log)

    def opening(self, log: str, subject: str) -> bytes | None:
        with self._lock:
            return self._known(log, subject)

    def sealing(self, log: str, subject: str, made: bytes | None = None) -> bytes | None:
        """The key to seal with; None for an erased subject, who stays erased. If there was none yet it is the one that was
        made ahead, or a new one.
        """
        with self._lock:
            table = self._of(log)
            key = table.get(subject)
            if key is None and subject not in self._erased:
                key = self._elsewhere(log, subject)
                if key is None:
                    key = self._unsaved[subject] = made or new_key()
                elif subject not in self._unsaved:
                    table.add(subject, key)
            return key

    def saved(self, log: str, keys: Mapping[str, bytes]) -> None:
        """They are durable, and the log has used them."""
        with self._lock:
            table, erased = self._of(log), self._erased
            for one in keys:
                self._unsaved.pop(one, None)
            table.add_new(item for item in keys.items() if item[0] not in erased)

    def open_some(self, log: str) -> bool:
        """Some of a log's keys that are packed since a start. Whether there were any."""
        with self._lock:
            table = self._of_kind(log).get(log)
            return table is not None and table.open_some()

    def still(self, log: str) -> tuple[Blocks, list[str]]:
        """The buckets of the log's durable keys as they are now, and who was erased."""
        with self._lock:
            erased = [one for one, knew in self._erased.items() if knew in (log, "")]
            return self._of(log).still(), erased

    def adopt(self, log: str, buckets: Blocks, erased: Sequence[str]) -> None:
        """As a snapshot has them. Whatever is known of a subject already stays: who was erased since has no key."""
        kept = Table(KEY_BYTES, buckets)
        with self._lock:
            table = self._of(log)
            if not table:
                self._of_kind(log)[log] = table = kept
        rest = iter(() if table is kept else buckets)
        while some := list(islice(rest, MERGED_BUCKETS)):
            with self._lock:
                table.adopt(Table(KEY_BYTES, Blocks.of(some)))
        kind = log.partition("/")[0]
        with self._lock:
            for one, knew in self._erased.items():
                if not knew or knew == log or knew.partition("/")[0] != kind:  # of a kind none has another's
                    table.drop(one)
            for one in [one for one in self._unsaved if one in table]:
                del self._unsaved[one]
            for one in erased:
                table.drop(one)
                self._unsaved.pop(one, None)
                self._erased.setdefault(one, log)

    def drop(self, log: str) -> None:
        """The log is closed for good: whoever reads it once more learns its keys again."""
        with self._lock:
            self._of_kind(log).pop(log, None)
            for one in [one for one, knew in self._erased.items() if knew == log]:
                del self._erased[one]

    # -- all logs' ----------------------------------------------------------------------------------------------------

    def unsaved(self, subjects: Iterable[str]) -> dict[str, bytes]:
        """Of these subjects' keys those that aren't known to be durable."""
        return {one: self._unsaved[one] for one in subjects if one in self._unsaved}

    def wanted(self, keys: Mapping[str, bytes]) -> dict[str, bytes]:
        """Those to write now: not the key of somebody who was erased since."""
        return {one: key for one, key in keys.items() if one not in self._erased}

    def forget(self, subject: str) -> bool:
        """Whether there was one."""
        with self._lock:
            self._unsaved.pop(subject, None)
            knew = [log for tables in self._tables.values() for log, table in tables.items() if table.drop(subject)]
            self._erased.setdefault(subject, knew[0] if len(knew) == 1 else "")
        return bool(knew)

    def _of(self, log: str) -> Table:
        tables = self._of_kind(log)
        table = tables.get(log)
        if table is None:
            table = tables[log] = Table(KEY_BYTES)
        return table

    def _of_kind(self, log: str) -> dict[str, Table]:
        return self._tables.setdefault(log.partition("/")[0], {})

    def _known(self, log: str, subject: str) -> bytes | None:
        return self._of(log).get(subject) or self._elsewhere(log, subject)

    def _elsewhere(self, log: str, subject: str) -> bytes | None:
        """What another log knows: a second key for a subject would leave unreadable what is sealed under the first. Logs of a
        kind, the campaigns', have none in common: the directory sees to it, and they may be hundreds.
        """
        if subject in self._erased:
            return None
        key = self._unsaved.get(subject)
        if key is None:
            kind = log.partition("/")[0]
            for name, tables in self._tables.items():
                for table in tables.values() if name != kind else ():
                    if table.count and (key := table.get(subject)) is not None:
                        return key
        return key

    def _know(self, table: Table, subject: str, key: bytes) -> None:
        """A key that is durable."""
        self._unsaved.pop(subject, None)
        if subject not in self._erased and subject not in table:
            table.add(subject, key)


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)
