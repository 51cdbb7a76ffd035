"""The client's IP address, as far as the service can trust it.

Our proxies append to `X-Forwarded-For`, so only its last `TRUSTED_PROXIES` entries are theirs. The
header `Forwarded` (RFC 7239) is not read. An address that the proxies do not tell is unknown. The
proxy's own address would stand for all clients, so one client could use up the limits of all.
"""

import logging
import re
import threading
import time
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

__all__ = ["client_ip", "parse_address"]

logger = logging.getLogger(__name__)

# One client usually has a whole /64 of IPv6 addresses, so they count as one address.
IPV6_PREFIX = 64

# IPv6 addresses that contain the IPv4 address of a client behind a translator (RFC 6052).
TRANSLATED = IPv6Network("64:ff9b::/96")

# The longest entry is an IPv6 address with a zone, in brackets, and a port.
MAX_ENTRY = 100

# `192.0.2.1:4711`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?")

# Seconds between two log lines about requests whose client is unknown.
LOG_SECONDS = 60.0


def client_ip(request: HttpRequest | Request) -> str | None:
    """Return the client's IPv4 address or IPv6 network; None if it is unknown.

    It is unknown on a Unix socket, and if the entry in `X-Forwarded-For` that the first trusted
    proxy should have written is missing or is no address.
    """
    proxies: int = settings.TRUSTED_PROXIES
    if proxies <= 0:
        return parse_address(request.META.get("REMOTE_ADDR") or "")

    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    entries = [entry for entry in map(str.strip, forwarded.split(",")) if entry]
    address = parse_address(entries[-proxies]) if len(entries) >= proxies else None
    if address is None:
        _unknown.log(len(entries))
    return address


def parse_address(text: str) -> str | None:
    """Return an address in the form that is counted, or None if the text is no address.

    Accepts a port and brackets. An IPv6 address that contains a client's IPv4 address becomes that
    address: a socket for both versions shows all IPv4 clients in one IPv6 network.
    """
    text = text.strip()
    if len(text) > MAX_ENTRY:
        return None
    found = WITH_PORT.fullmatch(text)
    try:
        address = ip_address((found["v6"] or found["v4"]) if found else text)
    except ValueError:
        return None
    if found and found["v6"] and address.version != 6:
        return None
    return _counted(address)


def _counted(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    bits = int(address)
    if IPv6Address(bits) in TRANSLATED:
        return str(IPv4Address(bits & 0xFFFF_FFFF))
    return str(IPv6Network((bits, IPV6_PREFIX), strict=False).network_address)


class _UnknownClients:
    """Logs requests with an unknown client, at most once in `LOG_SECONDS`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged_at = -LOG_SECONDS

    def log(self, entries: int) -> None:
        now = time.monotonic()
        with self._lock:
            if now < self._logged_at + LOG_SECONDS:
                return
            self._logged_at = now
        logger.warning(
            "A client's address is unknown, so requests are not counted by address: TRUSTED_PROXIES"
            " is %d, and X-Forwarded-For has %d entries or an entry that is no IP address. Check"
            " which proxies append to this header.",
            settings.TRUSTED_PROXIES,
            entries,
        )


_unknown = _UnknownClients()
