"""Pages of other origins: closed to them, but for those that the operator names (`[http] cors_origins`).

The fetch standard's protocol: a browser asks first (`OPTIONS` with Access-Control-Request-Method), without a token. Tokens come
in a header that pages set themselves, so no cookies are let through, and an origin that isn't named learns nothing.
"""

from collections.abc import Collection

from aiohttp import web

MAX_AGE_S = 600
"""For so long a browser needn't ask again."""
SENT = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID"
"""Headers that a page may send."""
TOLD = "Allow, ETag, Location, RateLimit, RateLimit-Policy, Retry-After, Ringfold-Cursor, Ringfold-Reason, Ringfold-Replayed"
"""Headers of answers that a page may read."""


def let_in(origins: Collection[str], request: web.Request, response: web.StreamResponse) -> None:
    """What the browser is told with any answer."""
    if not origins:
        return
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin", "")
    if origin not in origins:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = TOLD
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        response.headers["Access-Control-Allow-Headers"] = SENT
        response.headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
