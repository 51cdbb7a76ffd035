"""The client's IP address, as far as the service can trust it."""

from ipaddress import IPv6Network, ip_address

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

__all__ = ["client_ip"]

# One client usually has a whole /64 of IPv6 addresses, so they count as one address.
IPV6_PREFIX = 64


def client_ip(request: HttpRequest | Request) -> str | None:
    """Return the client's IPv4 address or IPv6 network; None without one, as on a Unix socket.

    `X-Forwarded-For` is trusted only for the TRUSTED_PROXIES last entries (REST framework's rule).
    """
    forwarded = BaseThrottle().get_ident(request)  # type: ignore[arg-type]  # it reads only META
    for candidate in (forwarded, request.META.get("REMOTE_ADDR", "")):
        try:
            address = ip_address(candidate)
        except ValueError:
            continue
        if address.version == 4:
            return str(address)
        return str(IPv6Network((int(address), IPV6_PREFIX), strict=False).network_address)
    return None
