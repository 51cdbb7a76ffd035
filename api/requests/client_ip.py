"""Where a request comes from, as far as it can be trusted."""

from ipaddress import IPv6Network, ip_address

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

__all__ = ["client_ip"]

# Whoever has one address of IPv6 has the rest of its /64 as well.
SITE_PREFIX = 64


def client_ip(request: HttpRequest | Request) -> str | None:
    """Return the client's address, of IPv6 the network's; None where there is none, as behind a
    Unix socket.

    `X-Forwarded-For` is read only as far as TRUSTED_PROXIES says that proxies of ours wrote it:
    REST framework's rule.
    """
    forwarded = BaseThrottle().get_ident(request)  # type: ignore[arg-type]  # all it reads is META
    for claimed in (forwarded, request.META.get("REMOTE_ADDR", "")):
        try:
            address = ip_address(claimed)
        except ValueError:
            continue
        if address.version == 4:
            return str(address)
        return str(IPv6Network((int(address), SITE_PREFIX), strict=False).network_address)
    return None
