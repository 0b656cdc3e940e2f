"""The reference store: what the others must do, in dictionaries. Nothing outlives the process."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterable, Mapping, Sequence

import msgspec

from engine.ports import KeptAnswer
from eventstore.snapshot import subject_of
from eventstore.store import Head, Part, Placed, Segment


class Lease(msgspec.Struct):
    head: Head
    owner: str
    until: float


class MemoryStore:
    kind = "memory"

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._segments: dict[str, list[Segment]] = {}
        self._dropped: dict[str, int] = {}
        self._keys: dict[str, bytes | None] = {}
        self._checkpoints: dict[tuple[str, str], int] = {}
        self._snapshots: dict[tuple[str, str], tuple[int, Mapping[str, bytes]]] = {}
        self._answers: dict[str, dict[str, KeptAnswer]] = {}

    async def acquire(self, log: str, owner: str, ttl_ms: int) -> Head | None:
        lease = self._leases.get(log)
        now = asyncio.get_running_loop().time()
        if lease is not None and lease.until > now and lease.owner != owner:
            return None
        before = lease.head if lease else Head(0, 0, 0, b"")
        head = msgspec.structs.replace(before, epoch=before.epoch + 1)
        self._leases[log] = Lease(head, owner, now + ttl_ms / 1_000)
        self._segments.setdefault(log, [])
        return head

    async def renew(self, log: str, epoch: int, ttl_ms: int) -> bool:
        lease = self._leases[log]
        if lease.head.epoch != epoch:
            return False
        lease.until = asyncio.get_running_loop().time() + ttl_ms / 1_000
        return True

    async def release(self, log: str, epoch: int) -> None:
        lease = self._leases[log]
        if lease.head.epoch == epoch:
            lease.until = 0

    def owner(self, log: str) -> str:
        """Whose lease is live; nobody's is the empty name."""
        lease = self._leases[log]
        return lease.owner if lease.until > asyncio.get_running_loop().time() else ""

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        placed = [Placed(log, segment), *([beside] if beside is not None else [])]
        heads = [(self._leases[name].head, one) for name, one in placed]
        if any((head.epoch, head.seq) != (one.epoch, one.seq - 1) for head, one in heads):
            return False
        for name, one in placed:
            self._leases[name].head = Head(one.epoch, one.seq, one.pos + one.n - 1, one.hash)
            self._segments[name].append(one)
        for subject, key in keys.items():
            self._keys.setdefault(subject, key)  # written once; erased stays erased
        return True

    async def head(self, log: str) -> Head | None:
        lease = self._leases.get(log)
        return lease.head if lease else None

    async def segments(self, log: str, after_pos: int, limit: int) -> Sequence[Segment]:
        own = self._segments.get(log, [])
        begin = bisect_right(own, after_pos, key=lambda one: one.pos + one.n - 1)
        return own[begin : begin + limit]

    async def logs(self) -> Sequence[str]:
        return sorted(self._leases.keys() - self._dropped.keys())

    async def drop(self, log: str, pos: int, segments: int) -> bool:
        self._dropped.setdefault(log, pos)
        await self.drop_snapshots(log)
        del self._segments[log][:segments]
        return not self._segments[log]

    async def dropped(self) -> Mapping[str, int]:
        return dict(self._dropped)

    async def put_back(self, log: str, segments: Sequence[Segment]) -> None:
        known = {one.seq: one for one in self._segments.get(log, ())}
        self._segments[log] = [one for _, one in sorted({**{one.seq: one for one in segments}, **known}.items())]

    async def undrop(self, log: str, head: Head) -> None:
        lease = self._leases.get(log)
        epoch = max(head.epoch, lease.head.epoch if lease else 0)
        self._leases[log] = Lease(msgspec.structs.replace(head, epoch=epoch), "", 0)
        self._dropped.pop(log, None)

    async def keys(self, subjects: Sequence[str]) -> Mapping[str, bytes]:
        return {one: key for one in subjects if (key := self._keys.get(one)) is not None}

    async def shred(self, subject: str) -> bool:
        if self._keys.get(subject) is None:
            return False
        self._keys[subject] = None
        return True

    async def checkpoint(self, name: str, log: str) -> int:
        return self._checkpoints.get((name, log), 0)

    async def save_checkpoint(self, name: str, log: str, pos: int) -> None:
        self._checkpoints[name, log] = pos

    async def checkpoints(self) -> Sequence[tuple[str, str, int]]:
        return [(name, log, pos) for (name, log), pos in self._checkpoints.items()]

    async def newest_snapshot(self, name: str, log: str) -> int | None:
        found = self._snapshots.get((name, log))
        return found[0] if found is not None else None

    async def parts(self, name: str, log: str, pos: int, after: str, limit: int) -> Sequence[Part]:
        newest, parts = self._snapshots.get((name, log), (0, {}))
        names = sorted(part for part in parts if part > after) if newest == pos else []
        return [(part, parts[part]) for part in names[:limit]]

    async def save_snapshot(
        self, name: str, log: str, pos: int, parts: AsyncIterable[Sequence[Part]], key: bytes
    ) -> None:
        whole = {part: data async for some in parts for part, data in some}
        newest, _ = self._snapshots.get((name, log), (0, None))
        if pos >= newest:
            self._keys.pop(subject_of(name, log, newest), None)
            self._keys[subject_of(name, log, pos)] = key
            self._snapshots[name, log] = (pos, whole)

    async def drop_snapshots(self, log: str) -> None:
        for name, of in [one for one in self._snapshots if one[1] == log]:
            pos, _ = self._snapshots.pop((name, of))
            self._keys.pop(subject_of(name, of, pos), None)

    async def answer(self, owner: str, key: str) -> KeptAnswer | None:
        return self._answers.get(owner, {}).get(key)

    async def keep_answer(self, owner: str, key: str, answer: KeptAnswer, most: int) -> None:
        own = self._answers.setdefault(owner, {})
        own[key] = answer
        for name in sorted(own, key=lambda one: own[one].at)[:-most]:
            del own[name]

    async def forget_answers(self, before: int) -> None:
        for own in self._answers.values():
            for key in [key for key, one in own.items() if one.at < before]:
                del own[key]

    async def close(self) -> None:
        pass
