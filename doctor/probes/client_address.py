"""The service sees the client's own address and https behind its proxies, and no forged address."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import httpx
import msgspec
from django.conf import settings
from django.urls import reverse

from doctor.findings import Finding, Job, Options, fault, proved, unknown
from doctor.public_request import get
from doctor.registry import probe
from doctor.runner import one_line
from doctor.seen import Seen, new_nonce

__all__ = ["client_address"]

# An address for documentation, which no client has: https://www.rfc-editor.org/rfc/rfc5737
FORGED = "192.0.2.77"

REDIRECTS = range(300, 400)

PROXY_HEADER = (
    "Set PROXY_SSL_HEADER to the header in which the proxy says https, for example "
    "X-Forwarded-Proto."
)


class _Refused(Exception):
    """The public address did not answer as the service does; the finding says how."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


@probe(
    "client-address",
    proves="behind its proxies the service sees the client's own address, and https",
)
def client_address(options: Options) -> Sequence[Job]:
    return [Job("client address", lambda: _client_address(options))]


def _client_address(options: Options) -> Iterator[Finding]:
    if options.url is None:
        yield _without_url(options)
        return
    try:
        honest = _ask(options.url)
        forged = _ask(options.url, {"X-Forwarded-For": FORGED})
    except _Refused as refused:
        yield refused.finding
        return
    yield _address(honest, forged)
    yield _scheme(options.url, honest)


def _without_url(options: Options) -> Finding:
    if options.exposed or settings.TRUSTED_PROXIES or settings.SECURE_PROXY_SSL_HEADER:
        return unknown(
            "client address: not looked at, because no address of the service is given",
            "Give the public one: --url https://api.example.com",
        )
    return proved("client address: no proxy is set up, and only this machine sends requests")


def _ask(url: str, headers: Mapping[str, str] | None = None) -> Seen:
    """Request our own address once; return how the service saw it. Raises `_Refused`."""
    try:
        answer = get(f"{url}{reverse('doctor-seen', args=[new_nonce()])}", headers)
    except httpx.HTTPError as error:
        raise _Refused(
            fault(
                f"client address: {url} gives no answer: {one_line(error)}",
                "Check the address, its certificate, and that the API runs behind it.",
            )
        ) from error
    if answer.status_code in REDIRECTS:
        raise _Refused(_redirect(url, answer.headers.get("Location", "")))
    try:
        return msgspec.json.decode(answer.content, type=Seen)
    except msgspec.MsgspecError as error:
        raise _Refused(
            fault(
                f"client address: {url} answers {answer.status_code}, not as this service does",
                "Check the address, ALLOWED_HOSTS, and that the API and this process have the same "
                "REDIS_URL and release.",
            )
        ) from error


def _redirect(url: str, location: str) -> Finding:
    if urlsplit(url).scheme == "https" and urlsplit(location).scheme == "https":
        return fault(
            f"client address: {url} redirects https to https without end, because the service "
            "takes the request for http",
            PROXY_HEADER,
        )
    return fault(
        f"client address: {url} redirects to {location}", "Give the address to which it redirects."
    )


def _address(honest: Seen, forged: Seen) -> Finding:
    trusted = settings.TRUSTED_PROXIES
    if forged.client == FORGED:
        return fault(
            f"client address: forged, because a client can send it: {honest.forwarded} proxies add "
            f"to X-Forwarded-For, and TRUSTED_PROXIES is {trusted}",
            f"Set TRUSTED_PROXIES={honest.forwarded}.",
        )
    if honest.forwarded > trusted:
        return fault(
            f"client address: all clients count as {honest.client}: {honest.forwarded} proxies add "
            f"to X-Forwarded-For, and TRUSTED_PROXIES is {trusted}",
            f"Set TRUSTED_PROXIES={honest.forwarded}.",
        )
    return proved(
        f"client address: this host is seen as {honest.client}, through {honest.forwarded} "
        "proxies, and a forged address is ignored"
    )


def _scheme(url: str, honest: Seen) -> Finding:
    if urlsplit(url).scheme != "https":
        return proved(f"client address: {url} is plain http, which this service is set up to serve")
    if honest.secure:
        return proved("client address: https arrives as https")
    return fault("client address: https arrives as http", PROXY_HEADER)
