"""Tokens that are wrong by one thing each, most of them signed by the service's own key."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyseto
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyseto import Key
from pyseto.key_interface import KeyInterface

from api.token import AUDIENCE, MAX_TTL_S, KeyRing
from api.token.ring import MAX_FOOTER_CHARS, MAX_TOKEN_CHARS, SESSION

Made = Callable[[KeyRing], str]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def claims(**other: Any) -> dict[str, Any]:
    """Good ones, but for `other`; None leaves a claim out."""
    now = datetime.now(UTC)
    usual = {
        "iss": "ringfold",
        "aud": AUDIENCE,
        "sub": "admin",
        "jti": "0" * 32,
        "iat": now.isoformat(),
        "exp": (now + timedelta(hours=1)).isoformat(),
        "role": "administrator",
        "campaigns": [],
    }
    return {key: value for key, value in {**usual, **other}.items() if value is not None}


def body(**other: Any) -> bytes:
    return json.dumps(claims(**other)).encode()


def at(**offset: int) -> str:
    return (datetime.now(UTC) + timedelta(**offset)).isoformat()


def footer_of(keys: KeyRing, **more: Any) -> bytes:
    return json.dumps({"kid": keys.kid, **more}).encode()


def signed(keys: KeyRing, payload: bytes, footer: bytes | None = None, implicit: bytes = b"") -> str:
    """By the service's own key: only what is given can be wrong with it."""
    known = footer_of(keys) if footer is None else footer
    return pyseto.encode(keys.signing.secret, payload, footer=known, implicit_assertion=implicit).decode()


def good(keys: KeyRing) -> str:
    return signed(keys, body())


def of(**other: Any) -> Made:
    return lambda keys: signed(keys, body(**other))


def paying(payload: bytes) -> Made:
    return lambda keys: signed(keys, payload)


def footed(make: Callable[[KeyRing], bytes]) -> Made:
    return lambda keys: signed(keys, body(), make(keys))


def rewritten(change: Callable[[str], str]) -> Made:
    """A good token whose text was changed."""
    return lambda keys: change(good(keys))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def parts_of(token: str) -> list[str]:
    return token.split(".")


def with_part(token: str, place: int, change: Callable[[str], str]) -> str:
    parts = parts_of(token)
    parts[place] = change(parts[place])
    return ".".join(parts)


def flipped(place: int, where: float) -> Made:
    """One character of a part is another."""

    def change(part: str) -> str:
        index = min(int(len(part) * where), len(part) - 1)
        return part[:index] + ("A" if part[index] != "A" else "B") + part[index + 1 :]

    return lambda keys: with_part(good(keys), place, change)


def foreign() -> KeyInterface:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Key.new(version=4, purpose="public", key=pem)


def by_another_key(keys: KeyRing) -> str:
    return pyseto.encode(foreign(), body(), footer=footer_of(keys)).decode()


def by_another_key_under_its_own_id(keys: KeyRing) -> str:
    key = foreign()
    public = Key.from_asymmetric_key_params(4, x=Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    return pyseto.encode(key, body(), footer=json.dumps({"kid": public.to_paserk_id()}).encode()).decode()


def public_bytes(keys: KeyRing) -> bytes:
    """What everybody may know of our key: no secret may be made of it."""
    packed = keys.published()[0].paserk.removeprefix("k4.public.")
    return base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))


def local_by(make: Callable[[KeyRing], bytes]) -> Made:
    """v4.local under a key that anybody could have made."""

    def token(keys: KeyRing) -> str:
        key = Key.new(version=4, purpose="local", key=make(keys))
        return pyseto.encode(key, body(), footer=footer_of(keys)).decode()

    return token


def mac_for_signature(keys: KeyRing) -> str:
    """Signed with HMAC under the public key, as confused JWT libraries take it."""
    payload = body()
    mac = hmac.new(public_bytes(keys), payload, hashlib.sha512).digest()
    return f"v4.public.{encoded(payload + mac)}.{encoded(footer_of(keys))}"


def unsigned(signature: bytes) -> Made:
    return lambda keys: f"v4.public.{encoded(body() + signature)}.{encoded(footer_of(keys))}"


def web_token(algorithm: str) -> Made:
    def token(keys: KeyRing) -> str:
        head = encoded(json.dumps({"alg": algorithm, "typ": "JWT", "kid": keys.kid}).encode())
        text = f"{head}.{encoded(body())}"
        mac = hmac.new(public_bytes(keys), text.encode(), hashlib.sha256).digest() if algorithm != "none" else b""
        return f"{text}.{encoded(mac)}"

    return token


def headed(head: str) -> Made:
    return rewritten(lambda token: head + token.removeprefix("v4.public."))


def other_footer(keys: KeyRing) -> str:
    return with_part(good(keys), 3, lambda _: encoded(footer_of(keys, x=1)))


def spare_bits(place: int) -> Made:
    """The same bytes, written otherwise: bits of the last character that belong to no byte."""

    def token(keys: KeyRing) -> str:
        for pad in range(3):  # of three lengths in a row one has such bits
            text = signed(keys, body(jti="0" * (32 + pad)), footer_of(keys, pad="x" * pad))
            part = parts_of(text)[place]
            if len(part) % 4:
                return with_part(text, place, lambda one: one[:-1] + ALPHABET[ALPHABET.index(one[-1]) + 1])
        raise AssertionError("no such length")

    return token


def twice(name: str, first: Any) -> Made:
    """A claim twice: a bad and then a good one, as parsers that take the last would like."""
    usual = json.dumps(claims())
    return lambda keys: signed(keys, f'{{"{name}":{json.dumps(first)},{usual[1:]}'.encode())


CLAIMS: dict[str, Made] = {
    "expired": of(exp=at(seconds=-1)),
    "expired long ago": of(iat="1970-01-01T00:00:00Z", exp="1970-01-02T00:00:00Z"),
    "lives too long": of(exp=at(seconds=MAX_TTL_S, days=1)),
    "ends in the year 9999": of(exp="9999-12-31T23:59:59Z"),
    "without an end": of(exp=None),
    "an end that is null": paying(json.dumps({**claims(), "exp": None}).encode()),
    "an end that is a number": of(exp=4_000_000_000),
    "an end that is text of a number": of(exp="4000000000"),
    "an end without a zone": of(exp=at(hours=1)[:19]),
    "an end that is a day": of(exp=at(days=2)[:10]),
    "an end in another notation": of(exp=at(hours=1)[:19].replace("-", "").replace(":", "") + "Z"),
    "an end with a space": of(exp=at(hours=1).replace("T", " ")),
    "an end by week": of(exp="2999-W01-1T00:00:00+00:00"),
    "an end that is no time": of(exp="tomorrow"),
    "an end on the 31st of February": of(exp="2999-02-31T00:00:00Z"),
    "an end in far digits": of(exp=at(hours=1).replace("2", "\uff12")),
    "an end with a line behind it": of(exp=at(hours=1) + "\n"),
    "an empty end": of(exp=""),
    "two ends in a list": of(exp=[at(hours=1)]),
    "issued in the future": of(iat=at(days=1), exp=at(days=2)),
    "without a time of issue": of(iat=None),
    "issued without a zone": of(iat=at()[:19]),
    "not yet valid": of(nbf=at(days=1)),
    "a beginning that is no time": of(nbf="soon"),
    "a beginning that is a number": of(nbf=0),
    "for another audience": of(aud="elsewhere"),
    "for several audiences": of(aud=[AUDIENCE]),
    "for no audience": of(aud=None),
    "for an empty audience": of(aud=""),
    "for nearly our audience": of(aud=AUDIENCE + " "),
    "for our audience in capitals": of(aud=AUDIENCE.upper()),
    "by another issuer": of(iss="elsewhere"),
    "by no issuer": of(iss=None),
    "by several issuers": of(iss=["ringfold"]),
    "without an id": of(jti=None),
    "with an empty id": of(jti=""),
    "with an id that is a number": of(jti=7),
    "with an endless id": of(jti="0" * 65),
    "without a subject": of(sub=None),
    "with an empty subject": of(sub=""),
    "with a subject that is a number": of(sub=1),
    "with a subject of two lines": of(sub="admin\nroot"),
    "with a subject that ends its line": of(sub="admin\n"),
    "with a subject of other letters": of(sub="\u0430dmin"),
    "without a role": of(role=None),
    "an unknown role": of(role="root"),
    "a role in capitals": of(role="Administrator"),
    "several roles": of(role=["agent", "administrator"]),
    "a role that is true": of(role=True),
    "campaigns that are no list": of(campaigns="spring"),
    "campaigns that are null": paying(json.dumps({**claims(), "campaigns": None}).encode()),
    "campaigns that are numbers": of(campaigns=[1]),
    "agents that are an object": of(agents={"agent1": True}),
    "systems that are a number": of(systems=0),
    "a list": paying(b"[]"),
    "a list of claims": paying(b"[" + body() + b"]"),
    "null": paying(b"null"),
    "a number": paying(b"1"),
    "text": paying(json.dumps(body().decode()).encode()),
    "an object without claims": paying(b"{}"),
    "an empty payload": paying(b" "),
    "no JSON": paying(b"\xff{"),
    "JSON and more": paying(body() + b"{}"),
    "two documents": paying(body() + b"\n" + body()),
    "a comma too many": paying(body()[:-1] + b",}"),
    "a comment": paying(body()[:-1] + b"/* */}"),
    "UTF-16": paying(body().decode().encode("utf-16")),
    "a byte order mark": paying(b"\xef\xbb\xbf" + body()),
    "not a number": paying(body()[:-1] + b',"x":NaN}'),
    "infinite": paying(body()[:-1] + b',"x":-Infinity}'),
    "an end that is not a number": paying(body(exp=None)[:-1] + b',"exp":NaN}'),
    "nested without end": paying(b"[" * 2_000),
    "nested in a claim": paying(body()[:-1] + b',"x":' + b"[" * 1_000 + b"]" * 1_000 + b"}"),
    "a role twice": twice("role", "agent"),
    "an end twice": twice("exp", "1970-01-01T00:00:00Z"),
    "an audience twice": twice("aud", "elsewhere"),
    "a subject twice": twice("sub", "admin"),
    "twice in other writing": twice("\\u0072ole", "agent"),
    "twice within": paying(body()[:-1] + b',"x":{"a":1,"a":1}}'),
}
"""Signed by our key, with a claim that isn't taken."""

FOOTERS: dict[str, Made] = {
    "no footer": footed(lambda _: b""),
    "a footer that is no JSON": footed(lambda keys: keys.kid.encode()),
    "a footer that is a list": footed(lambda keys: json.dumps([keys.kid]).encode()),
    "a footer that is text": footed(lambda keys: json.dumps(keys.kid).encode()),
    "a footer that is null": footed(lambda _: b"null"),
    "a footer without a key": footed(lambda _: b"{}"),
    "a key that is null": footed(lambda _: b'{"kid":null}'),
    "a key that is a list": footed(lambda keys: json.dumps({"kid": [keys.kid]}).encode()),
    "an unknown key": footed(lambda _: b'{"kid":"k4.pid.none"}'),
    "a key that is a path": footed(lambda _: b'{"kid":"../../etc/passwd"}'),
    "a key that is a query": footed(lambda _: b'{"kid":"\' or 1=1 --"}'),
    "a key that is an address": footed(lambda _: b'{"kid":"https://example.com/key"}'),
    "a key in capitals": footed(lambda keys: json.dumps({"kid": keys.kid.upper()}).encode()),
    "a key with a space": footed(lambda keys: json.dumps({"kid": keys.kid + " "}).encode()),
    "the public key in its place": footed(lambda keys: json.dumps({"kid": keys.published()[0].paserk}).encode()),
    "a key twice": footed(lambda keys: f'{{"kid":"x","kid":"{keys.kid}"}}'.encode()),
    "the same key twice": footed(lambda keys: f'{{"kid":"{keys.kid}","kid":"{keys.kid}"}}'.encode()),
    "a number that is none": footed(lambda keys: footer_of(keys)[:-1] + b',"x":NaN}'),
    "a footer nested without end": footed(lambda _: b'{"kid":' + b"[" * 370),
    "a footer in UTF-16": footed(lambda keys: footer_of(keys).decode().encode("utf-16")),
    "footer oversized": footed(lambda keys: footer_of(keys, pad="x" * MAX_FOOTER_CHARS)),
    "footer changed": other_footer,
    "footer cut off": rewritten(lambda token: with_part(token, 3, lambda part: part[:-4])),
    "footer left out": rewritten(lambda token: token.rpartition(".")[0]),
    "footer empty": rewritten(lambda token: token.rpartition(".")[0] + "."),
    "spare bits in the footer": spare_bits(3),
    "implicitly for something else": lambda keys: signed(keys, body(), implicit=b"session"),
    "implicitly for the footer": lambda keys: signed(keys, body(), implicit=footer_of(keys)),
}
"""With a footer, or something unsaid, that isn't ours."""

KEYS: dict[str, Made] = {
    "by another key": by_another_key,
    "by another key under its own id": by_another_key_under_its_own_id,
    "public key as the secret": local_by(public_bytes),
    "key id as the secret": local_by(lambda keys: keys.kid.encode()[:32]),
    "nothing as the secret": local_by(lambda _: bytes(32)),
    "any secret": local_by(lambda _: b"k" * 32),
    "HMAC under the public key": mac_for_signature,
    "no signature": unsigned(b""),
    "a signature of zeros": unsigned(bytes(64)),
    "a signature of ones": unsigned(b"\xff" * 64),
    "half of a signature": unsigned(b"\x01" * 32),
    "JWT without algorithm": web_token("none"),
    "JWT with HMAC": web_token("HS256"),
    "JWT said to be EdDSA": web_token("EdDSA"),
    "the public key itself": lambda keys: keys.published()[0].paserk,
    "the key id itself": lambda keys: keys.kid,
    **{
        f"{version}.{purpose}": headed(f"{version}.{purpose}.")
        for version in ("v1", "v2", "v3", "v4", "v5", "V4", "v04", "v", "")
        for purpose in ("public", "local")
        if (version, purpose) != ("v4", "public")
    },
    **{f"headed {head}": headed(head) for head in ("v4.Public.", "v4.", "v4..", "v4.public", "v4.public..", "public.")},
}
"""By no key of ours, or under another purpose."""

TEXTS: dict[str, Made] = {
    "nothing": lambda _: "",
    "a dot": lambda _: ".",
    "dots": lambda _: "v4.public..",
    "no token at all": lambda _: "xyzzy",
    "only its head": lambda _: "v4.public.",
    "not ASCII": lambda _: "v4.public.\u00e9.\u00e9",
    "oversized": of(pad="x" * MAX_TOKEN_CHARS),
    "oversized and nothing": lambda _: "v4.public." + "A" * 8_000,
    "cut off": rewritten(lambda token: token[:-40]),
    "cut off by one": rewritten(lambda token: token[:-1]),
    "cut off at its beginning": rewritten(lambda token: token[1:]),
    "twice": rewritten(lambda token: token + token),
    "twice, with a comma": rewritten(lambda token: f"{token},{token}"),
    "twice, with a space": rewritten(lambda token: f"{token} {token}"),
    "in quotes": rewritten(lambda token: f'"{token}"'),
    "in brackets": rewritten(lambda token: f"<{token}>"),
    "in capitals": rewritten(str.upper),
    "backwards": rewritten(lambda token: token[::-1]),
    "with a further part": rewritten(lambda token: token + ".AAAA"),
    "with a dot behind": rewritten(lambda token: token + "."),
    "with padding": rewritten(lambda token: token + "="),
    "with padding within": rewritten(lambda token: with_part(token, 2, lambda part: part + "==")),
    "with junk behind": rewritten(lambda token: token + "!"),
    "with a semicolon behind": rewritten(lambda token: token + ";"),
    "with a space within": rewritten(lambda token: token.replace(".", ". ")),
    "with a tab in front": rewritten(lambda token: "\t" + token),
    "with what base64 skips in the payload": rewritten(
        lambda token: with_part(token, 2, lambda part: part[:9] + "!" + part[9:])
    ),
    "with what base64 skips in the footer": rewritten(
        lambda token: with_part(token, 3, lambda part: part[:9] + "~" + part[9:])
    ),
    "in the other alphabet of base64": rewritten(
        lambda token: with_part(token, 2, lambda part: part.replace("-", "+").replace("_", "/") + "+/")
    ),
    "with spare bits": spare_bits(2),
    "percent-encoded": rewritten(lambda token: token.replace(".", "%2E")),
    "parts exchanged": rewritten(
        lambda token: ".".join([*parts_of(token)[:2], parts_of(token)[3], parts_of(token)[2]])
    ),
    "footer for payload": rewritten(lambda token: with_part(token, 2, lambda _: parts_of(token)[3])),
    "payload of another": lambda keys: with_part(good(keys), 2, lambda _: encoded(body(role="agent") + bytes(64))),
    "signature of another": lambda keys: with_part(
        good(keys), 2, lambda part: part[:-86] + parts_of(signed(keys, body(sub="other")))[2][-86:]
    ),
    **{
        f"flipped at {share:.0%} of part {place}": flipped(place, share)
        for place in (2, 3)
        for share in (0, 0.2, 0.4, 0.6, 0.8, 1)
    },
}
"""What is no token of ours as it is written."""


def session(payload: bytes, footer: bytes | None = None, implicit: bytes = SESSION) -> Made:
    """Encrypted under our own key for sessions: only what is given can be wrong with it."""

    def token(keys: KeyRing) -> str:
        local = keys.signing.local
        known = json.dumps({"kid": local.to_paserk_id()}).encode() if footer is None else footer
        return pyseto.encode(local, payload, footer=known, implicit_assertion=implicit).decode()

    return token


def good_session(keys: KeyRing) -> str:
    return session(body(session_of="1" * 32))(keys)


def of_session(change: Callable[[str], str]) -> Made:
    return lambda keys: change(good_session(keys))


SESSIONS: dict[str, Made] = {
    "a session of nothing": session(body()),
    "a session of an empty token": session(body(session_of="")),
    "a session of a number": session(body(session_of=1)),
    "a session of an endless token": session(body(session_of="1" * 65)),
    "a token of a token": of(session_of="1" * 32),
    "a session without its implicit assertion": session(body(session_of="1" * 32), implicit=b""),
    "a session for something else": session(body(session_of="1" * 32), implicit=b"ticket"),
    "a session under the signing key's id": lambda keys: session(body(session_of="1" * 32), footer_of(keys))(keys),
    "a session without a footer": session(body(session_of="1" * 32), b""),
    "a session under no key": session(body(session_of="1" * 32), b'{"kid":"k4.lid.none"}'),
    "an expired session": session(body(session_of="1" * 32, exp=at(seconds=-1))),
    "a session without an end": session(body(session_of="1" * 32, exp=None)),
    "a session for others": session(body(session_of="1" * 32, aud="elsewhere")),
    "a session with a role twice": session(b'{"role":"agent",' + body(session_of="1" * 32)[1:]),
    "a session called public": of_session(lambda token: token.replace("v4.local.", "v4.public.")),
    "a session of v3": of_session(lambda token: token.replace("v4.", "v3.")),
    "a session cut off": of_session(lambda token: with_part(token, 2, lambda part: part[:-4])),
    "a session with junk": of_session(lambda token: token + "!"),
    "a session with another nonce": of_session(lambda token: with_part(token, 2, lambda part: "AAAA" + part[4:])),
    "a session with another end": of_session(lambda token: with_part(token, 2, lambda part: part[:-8] + "AAAAAAAA")),
    "a session with another footer": of_session(lambda token: with_part(token, 3, lambda _: encoded(b'{"kid":1}'))),
    "a token under a session's key id": lambda keys: signed(
        keys, body(), json.dumps({"kid": keys.signing.local.to_paserk_id()}).encode()
    ),
}
"""What is no session of ours."""

WRONG: dict[str, Made] = {**CLAIMS, **FOOTERS, **KEYS, **TEXTS, **SESSIONS}
assert len(WRONG) == len(CLAIMS) + len(FOOTERS) + len(KEYS) + len(TEXTS) + len(SESSIONS)
