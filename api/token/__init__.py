"""Who calls: PASETO tokens, signed with a key of this installation.

Only tokens that were made for this service are taken: one key is chosen by the `kid` of the footer, before anything else is
read; the audience must be ours, and there must be an end. Whatever is wrong with a token, the answer is the same.
"""

from api.token.claim import AUDIENCE, MAX_TTL_S, Principal, Role, TokenRefused
from api.token.ring import KeyRing

__all__ = ["AUDIENCE", "MAX_TTL_S", "KeyRing", "Principal", "Role", "TokenRefused"]
