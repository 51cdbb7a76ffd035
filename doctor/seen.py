"""How the service sees a request: an answer for `doctor` alone.

`doctor` writes a random nonce to the cache, and requests the address of that nonce through the
proxy. Each nonce is answered once, and expires. Any other address is answered 404.
"""

import secrets
from typing import Any

import msgspec
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from api.requests.client_ip import client_ip

__all__ = ["Seen", "new_nonce", "seen"]

# Seconds.
NONCE_LIFETIME = 30


class Seen(msgspec.Struct, frozen=True):
    """A request as the service sees it.

    `client` is the address that limits and lockouts count. `forwarded` is the number of addresses
    in X-Forwarded-For. `secure` tells whether the request counts as https.
    """

    client: str | None
    forwarded: int
    secure: bool


def new_nonce() -> str:
    """Allow one request for a nonce; return the nonce. Raises RedisError."""
    nonce = secrets.token_urlsafe(32)
    cache.set(_key(nonce), 1, NONCE_LIFETIME)
    return nonce


@never_cache
@require_GET
def seen(request: HttpRequest, nonce: str) -> HttpResponse:
    """Answer how the service sees this request, if the nonce is new; else 404."""
    if not _take(nonce):
        return HttpResponseNotFound()
    entries = request.headers.get("X-Forwarded-For", "")
    found = Seen(
        client=client_ip(request),
        forwarded=len(entries.split(",")) if entries else 0,
        secure=request.is_secure(),
    )
    return HttpResponse(msgspec.json.encode(found), content_type="application/json")


def _take(nonce: str) -> bool:
    try:
        taken: Any = cache.delete(_key(nonce))
    except Exception:  # the cache is down or refuses: no nonce can be known
        return False
    return bool(taken)


def _key(nonce: str) -> str:
    return f"doctor:{nonce}"
