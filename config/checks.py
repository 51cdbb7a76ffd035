"""Settings that are unfit for a service that other machines reach: errors of every process's start.

A staging system needs some of them. `ALLOW_INSECURE` names each that it accepts, and each start
logs it. A wrong setting must not hinder a repair: docs/checks.md lists the commands that still run.
"""

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning

from config.databases import TIMEOUTS
from config.security import INSECURE_PREFIX, LOOPBACK, SECRET_KEY_CHARACTERS

__all__ = ["CONCESSIONS", "Fault", "check_deployment", "faults"]

STRIPE = "https://api.stripe.com"
LIVE = "_live_"
OWN_HOSTS = {"localhost", "127.0.0.1", "::1"}

# A token that protects amounts must not be guessed.
METRICS_TOKEN_LENGTH = 16

# The names that ALLOW_INSECURE may list, each with the check that it turns into a warning.
CONCESSIONS = {
    "simulated-gateway": "config.E001",
    "test-key": "config.E002",
    "stripe-api-base": "config.E003",
    "open-metrics": "config.E004",
    "any-host": "config.E005",
    "return-url": "config.E006",
    "debug": "config.E007",
    "plain-http": "config.E008",
    "no-rate-limits": "config.E009",
    "shared-client-address": "config.E010",
}


class Fault(NamedTuple):
    """A setting that is unfit: the id of its check, a text, and a hint for the operator."""

    id: str
    text: str
    hint: str


@register
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Report every unfit setting at once. A fault in ALLOW_INSECURE is only a warning."""
    found = list(faults())
    accepted = {CONCESSIONS[name]: name for name in settings.ALLOW_INSECURE if name in CONCESSIONS}
    return [
        *(_message(fault, accepted.get(fault.id, "")) for fault in found),
        *_wrong_concessions({fault.id for fault in found}),
    ]


def faults() -> Iterator[Fault]:
    """Yield the unfit settings. A service that only its own machine reaches may use all but one."""
    if _is_public():
        yield from chain(
            _payments(), _pages(), _limits(), _keys(), _fault_injection(), _time_limits()
        )
    if settings.DEBUG and (_is_public() or _has_live_key()):
        yield Fault(
            "config.E007",
            "DEBUG is on, and the service has a live key or other machines reach it.",
            "Set DEBUG=off. Its error pages show settings and source code, and it turns https off.",
        )


def _message(fault: Fault, concession: str) -> CheckMessage:
    if concession:
        return CheckWarning(
            f"ALLOW_INSECURE accepts {concession!r}: {fault.text}",
            hint=f"Remove {concession!r} from ALLOW_INSECURE before real customers come.",
            id=fault.id.replace("E", "W"),
        )

    name = next((name for name, id_ in CONCESSIONS.items() if id_ == fault.id), "")
    staging = f" On a staging system, ALLOW_INSECURE={name} accepts it." if name else ""
    return Error(fault.text, hint=f"{fault.hint}{staging}", id=fault.id)


def _wrong_concessions(found: set[str]) -> Iterator[CheckMessage]:
    for name in settings.ALLOW_INSECURE:
        if name not in CONCESSIONS:
            yield Error(
                f"ALLOW_INSECURE names {name!r}, which does not exist.",
                hint=f"Choose from: {', '.join(sorted(CONCESSIONS))}.",
                id="config.E020",
            )
        elif CONCESSIONS[name] not in found:
            yield CheckWarning(
                f"ALLOW_INSECURE accepts {name!r}, but no setting needs it.",
                hint="Remove it, because it would hide that fault later.",
                id="config.W020",
            )


def _payments() -> Iterator[Fault]:
    """Yield the faults of the gateway, in a process that takes orders or payments."""
    if settings.PAYMENT_GATEWAY == "simulated" and {"orders", "payments"} & _served():
        yield Fault(
            "config.E001",
            "PAYMENT_GATEWAY is 'simulated': goods leave, and no money comes.",
            "Set PAYMENT_GATEWAY=stripe, or name your own gateway.",
        )
    if settings.PAYMENT_GATEWAY == "simulated" or "payments" not in _served():
        return

    if settings.PAYMENT_GATEWAY == "stripe":
        yield from _stripe()
    back = urlsplit(settings.PAYMENT_RETURN_URL)
    if back.scheme != "https" or not back.hostname or back.hostname in OWN_HOSTS:
        yield Fault(
            "config.E006",
            f"PAYMENT_RETURN_URL is {settings.PAYMENT_RETURN_URL!r}, where no customer can return "
            "to safely.",
            "Set it to an https page of your shop. Customers come back there from the payment.",
        )


def _stripe() -> Iterator[Fault]:
    key, base = settings.STRIPE_API_KEY, settings.STRIPE_API_BASE
    if key and LIVE not in key:
        yield Fault(
            "config.E002",
            "STRIPE_API_KEY is not a live key: goods leave, and no money comes.",
            "Set it to a key that begins with sk_live_ or rk_live_.",
        )
    if base.rstrip("/") != STRIPE:
        yield Fault(
            "config.E003",
            f"STRIPE_API_BASE is {base!r}, which is not Stripe.",
            f"Unset it. Payments and the API key go to {STRIPE} then.",
        )


def _pages() -> Iterator[Fault]:
    if len(settings.METRICS_TOKEN) < METRICS_TOKEN_LENGTH:
        yield Fault(
            "config.E004",
            "METRICS_TOKEN is not set, or is shorter than "
            f"{METRICS_TOKEN_LENGTH} characters: any client can read amounts at /metrics.",
            "Set it to a random text, and give it to Prometheus as bearer token.",
        )
    if wide := [host for host in settings.ALLOWED_HOSTS if _matches_foreign_hosts(host)]:
        yield Fault(
            "config.E005",
            f"ALLOWED_HOSTS has {', '.join(map(repr, wide))}, which host names of others match.",
            "Name the hosts of this service. Links in its pages follow the Host header.",
        )
    if not settings.HTTPS and not settings.DEBUG:
        yield Fault(
            "config.E008",
            "HTTPS is off: passwords, tokens and sessions can be read on the way.",
            "Unset it. Behind a proxy that ends TLS, set PROXY_SSL_HEADER.",
        )


def _matches_foreign_hosts(host: str) -> bool:
    """Tell whether a pattern matches any host, or all of a top-level domain."""
    return host == "*" or (host.startswith(".") and "." not in host.strip("."))


def _limits() -> Iterator[Fault]:
    limits = {
        **{f"RATE_LIMIT_{_of_limit(name)}": limit for name, limit in settings.RATE_LIMITS.items()},
        "RATE_LIMIT_ADDRESS_FACTOR": settings.RATE_LIMIT_ADDRESS_FACTOR,
        "LOGIN_FAILURES": settings.AXES_FAILURE_LIMIT,
        "LOGIN_COOLOFF_SECONDS": settings.AXES_COOLOFF_TIME.total_seconds(),
    }
    if off := [name for name, limit in limits.items() if limit <= 0]:
        yield Fault(
            "config.E009",
            f"{', '.join(off)} is 0 or less, so clients are not limited.",
            "Unset it, or set the highest number that one client needs.",
        )
    if settings.SECURE_PROXY_SSL_HEADER and settings.TRUSTED_PROXIES < 1:
        yield Fault(
            "config.E010",
            "PROXY_SSL_HEADER is set, but TRUSTED_PROXIES is 0: all clients share the address of "
            "the proxy, so one of them can lock out all.",
            "Set TRUSTED_PROXIES to the number of proxies that write X-Forwarded-For.",
        )


def _of_limit(name: str) -> str:
    return {"read": "READS", "write": "WRITES", "login": "LOGINS", "stranger": "STRANGERS"}.get(
        name, name.upper()
    )


def _keys() -> Iterator[Fault]:
    if any(_is_weak(key) for key in settings.SAGA_SIGNING_KEYS):
        yield Fault(
            "config.E011",
            "A key in SAGA_SIGNING_KEYS can be guessed, so anyone can sign messages.",
            "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
        )


def _is_weak(key: str) -> bool:
    return len(set(key)) < SECRET_KEY_CHARACTERS or key.startswith(INSECURE_PREFIX)


def _fault_injection() -> Iterator[Fault]:
    if os.environ.get("FAILPOINTS"):
        yield Fault(
            "config.E012",
            "FAILPOINTS is set: processes are killed and delayed on purpose.",
            "Unset it. It is for tests.",
        )


def _time_limits() -> Iterator[Fault]:
    longest = max(int(limit.removesuffix("s")) for limit in TIMEOUTS.values())
    if longest >= settings.SAGA_LEASE_SECONDS:
        yield Fault(
            "config.E013",
            f"SAGA_LEASE_SECONDS is {settings.SAGA_LEASE_SECONDS:g}, but a statement may run for "
            f"{longest} s.",
            f"Set it above {longest}. Otherwise a second worker takes over a step while the first "
            "still runs it.",
        )


def _is_public() -> bool:
    """Tell whether other machines reach the service, with DEBUG on as well."""
    return any(host not in LOOPBACK for host in settings.ALLOWED_HOSTS)


def _has_live_key() -> bool:
    return LIVE in settings.STRIPE_API_KEY and "payments" in _served()


def _served() -> set[str]:
    return set(settings.SERVED)
