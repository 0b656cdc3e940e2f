"""Events as bytes: a line of JSON each, readable from SQL in plain form, packed in the usual one; personal data sealed.

A segment's data is lines of `[stream, version, event]`. An event is tagged (`{"type": "call.ended.v1", …}`), and the tag is
storage: an unknown one stops the boot, for skipping it would fold a state that never was. A newer form of an event takes a
new tag; an upcaster, pure, turns the old form into the new one when it is read.
"""

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.core.personal import Details, Person
from engine.ports import Recorded, Unopened, Unreadable
from eventstore.keys import Keys
from eventstore.packing import DamagedSegment, Packing

NONCE_BYTES = 12

T = TypeVar("T")
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class UnknownEvent(Unreadable):
    """A log holds an event that this program doesn't know: it was written by a newer one."""


class UnencodableEvent(Exception):
    """An event holds what can't be stored (a lone surrogate, an unknown type): a fault of the program that made it."""


class BrokenSeal(Unreadable):
    """Personal data that its key doesn't open: altered, moved to another subject, or sealed under another key.

    Erased data is no such case: it has no key. This one stops the reader, for what it holds is not what was written.
    """


class Line(msgspec.Struct, Generic[T], frozen=True, array_like=True, gc=False):
    stream: str
    version: int
    event: T


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A line without its event, which is skipped: neither understood nor opened."""

    stream: str
    version: int
    event: ClassVar[None] = None


def sealed(subject: str, details: Details, key: bytes) -> str:
    """The box that only the key opens, and only as this subject's."""
    nonce = os.urandom(NONCE_BYTES)
    box = AESGCM(key).encrypt(nonce, _details.encode(details), subject.encode())
    return binascii.b2a_base64(nonce + box, newline=False).decode()


_details = msgspec.json.Encoder()


class Codec:
    """Encodes and decodes segments of events of one union of tagged structs."""

    def __init__(self, events: Any, upcasters: Mapping[str, Upcaster] | None = None) -> None:
        self.keys = Keys()
        self._upcasters = dict(upcasters or {})
        self._encoder = msgspec.json.Encoder(enc_hook=self._seal)
        self._decoder = msgspec.json.Decoder(Line[events], dec_hook=self._open)
        self._places = msgspec.json.Decoder(Place)
        self._loose = msgspec.json.Decoder(tuple[str, int, dict[str, Any]])
        self._events = events
        self._sealed: list[str] = []
        self._writing = self._reading = ""
        """The logs whose events are being encoded and decoded."""
        self._open_details = msgspec.json.Decoder(Details)
        self._packing = Packing()

    # -- segments -----------------------------------------------------------------------------------------------------

    def encode(self, recorded: Sequence[Recorded], log: str) -> tuple[bytes, dict[str, bytes]]:
        """Lines, not compressed, and the keys that must be durable with them. Raises UnencodableEvent."""
        self._sealed.clear()
        self._writing = log
        try:
            lines = self._encoder.encode_lines([(one.stream, one.version, one.event) for one in recorded])
        except Exception as error:  # of many types: what can't be encoded is told in many ways
            tags = ", ".join(sorted({type(one.event).__name__ for one in recorded}))
            raise UnencodableEvent(f"streams {_named(recorded)}, events {tags}: {error}") from error
        return lines, self.keys.unsaved(self._sealed) if self._sealed else {}

    def pack(self, lines: bytes) -> tuple[int, bytes]:
        return self._packing.pack(lines)

    def unpack(self, codec: int, data: bytes) -> bytes:
        """Raises DamagedSegment."""
        return self._packing.unpack(codec, data)

    def subjects(self, lines: bytes) -> list[str]:
        """Whose personal data the lines hold, so that their keys can be fetched before decoding. Raises DamagedSegment."""
        try:
            return [part.split(b'"', 1)[0].decode() for part in lines.split(_MARK)[1:]]
        except UnicodeDecodeError as error:
            raise DamagedSegment(f"whose personal data is sealed is no UTF-8: {error.reason}") from error

    def versions(self, lines: bytes) -> dict[str, int]:
        """The version that each stream in the lines reaches. Needs no keys, and knows any event. Raises DamagedSegment."""
        try:
            return {line.stream: line.version for line in self._places.decode_lines(lines)}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DamagedSegment(f"a line without stream and version: {error}") from error

    def decode(self, lines: bytes, log: str, first_pos: int, unopened: Unopened | None = None) -> list[Recorded]:
        """Events of a segment; keys of all its subjects must have been learned. Raises UnknownEvent, BrokenSeal,
        DamagedSegment."""
        self._reading = log
        if unopened is not None and first_pos <= unopened.to:
            return self._decode_singly(lines, log, first_pos, _begins(unopened.type), unopened.to)
        try:
            read = self._decoder.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError, BrokenSeal):
            return self._decode_singly(lines, log, first_pos)
        return [Recorded(pos, line.stream, line.version, line.event) for pos, line in enumerate(read, first_pos)]

    def _decode_singly(
        self, lines: bytes, log: str, first_pos: int, unopened: bytes = b"", unopened_to: int = 0
    ) -> list[Recorded]:
        """Where one can't be read as it is, for it may be an old one, or it is told which; and where some needn't be read:
        those up to a position whose event begins so.
        """
        found: list[Recorded] = []
        for offset, raw in enumerate(lines.splitlines()):
            try:
                line: Line[Any] | Place
                # Within a string the quotes that an event begins with were escaped.
                if first_pos + offset <= unopened_to and raw.startswith(unopened, raw.find(_EVENT)):
                    line = self._places.decode(raw)
                else:
                    line = self._line(raw, log, first_pos + offset)
            except BrokenSeal as error:
                raise BrokenSeal(f"log {log!r}, position {first_pos + offset}: {error}") from error
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise DamagedSegment(f"log {log!r}, position {first_pos + offset}: {error}") from error
            found.append(Recorded(first_pos + offset, line.stream, line.version, line.event))
        return found

    def _line(self, raw: bytes, log: str, pos: int) -> Line[Any]:
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            return self._upcast(raw, log, pos, error)

    def _upcast(self, raw: bytes, log: str, pos: int, error: Exception) -> Line[Any]:
        stream, version, fields = self._loose.decode(raw)
        tag = fields.get("type")
        upcaster = self._upcasters.get(str(tag))
        if upcaster is None:
            raise UnknownEvent(f"log {log!r}, position {pos}: {tag!r}: {error}") from error
        event = msgspec.convert(upcaster(fields), self._events, dec_hook=self._open)
        return Line(stream, version, event)

    # -- personal data ------------------------------------------------------------------------------------------------

    def _seal(self, value: Any) -> Any:
        if not isinstance(value, Person):
            raise NotImplementedError(type(value).__name__)  # msgspec's contract for a type that a hook doesn't know
        if value.details is None:
            return self._box(value, None)
        made = value.seal
        key = self.keys.sealing(self._writing, value.subject, made.key if made is not None else None)
        if key is not None:
            self._sealed.append(value.subject)
        if made is not None and key == made.key:
            return {_SUBJECT: value.subject, "box": made.box}
        return self._box(value, key)

    def _box(self, value: Person, key: bytes | None) -> dict[str, str]:
        if key is None or value.details is None:
            return {_SUBJECT: value.subject, "box": ""}
        return {_SUBJECT: value.subject, "box": sealed(value.subject, value.details, key)}

    def _open(self, type_: Any, value: Any) -> Any:
        return self._opened(type_, value, self._reading)

    def _opened(self, type_: Any, value: Any, log: str) -> Any:
        if type_ is not Person:
            raise NotImplementedError(type_)  # as above
        match value:
            case {"sealed_for": str(subject), "box": str(sealed)}:
                key = self.keys.opening(log, subject)
            case _:
                raise BrokenSeal("sealed personal data has lost its subject or its box")
        if key is None or not sealed:
            return Person(subject, None)
        try:
            box = base64.b64decode(sealed, validate=True)
            plain = AESGCM(key).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], subject.encode())
        except (InvalidTag, ValueError) as error:
            raise BrokenSeal(f"the personal data of {subject!r} doesn't open with its key") from error
        return Person(subject, self._open_details.decode(plain))


def _named(recorded: Sequence[Recorded]) -> str:
    return ", ".join(sorted({repr(one.stream) for one in recorded}))


def _begins(type_: type[Any]) -> bytes:
    """How an event of a type begins in a line."""
    return _EVENT + str(type_.__struct_config__.tag).encode() + b'"'


_EVENT = b'{"type":"'
_SUBJECT = "sealed_for"
_MARK = b'"sealed_for":"'
