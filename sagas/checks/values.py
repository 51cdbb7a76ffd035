"""Checks of the values of the engine's settings, and of the addresses of Redis."""

from collections.abc import Iterator
from itertools import chain
from numbers import Real
from typing import Any

from celery import current_app
from redis.connection import parse_url

from sagas.checks.findings import Finding
from sagas.conf import settings
from sagas.execution.network_guard import MODES

__all__ = ["findings"]

# Numbers that must be above zero, and numbers that may be zero.
POSITIVE = (
    "FLUSH_SECONDS",
    "BATCH_SIZE",
    "STEP_ATTEMPTS",
    "LEASE_SECONDS",
    "CALLS_AT_ONCE",
    "STALL_SECONDS",
    "RETENTION_DAYS",
)
NOT_NEGATIVE = ("REDRIVES", "METRICS_PORT")


def findings() -> Iterator[Finding]:
    """Yield wrong values, and values that contradict each other."""
    return chain(_numbers(), _modes(), _times(), _addresses())


def _numbers() -> Iterator[Finding]:
    for names, text, lowest in ((POSITIVE, "above 0", 0), (NOT_NEGATIVE, "0 or more", -1)):
        for name in names:
            value = getattr(settings, name)
            if not _is_number(value) or value <= lowest:
                yield _wrong(name, value, f"a number, {text}")


def _modes() -> Iterator[Finding]:
    if settings.NETWORK_IN_STEPS not in MODES:
        yield _wrong("NETWORK_IN_STEPS", settings.NETWORK_IN_STEPS, " or ".join(map(repr, MODES)))


def _times() -> Iterator[Finding]:
    flush, stall = settings.FLUSH_SECONDS, settings.STALL_SECONDS
    if _is_number(flush) and _is_number(stall) and flush > stall:
        yield Finding(
            "sagas.E068",
            f"SAGAS['FLUSH_SECONDS'] is {flush:g}, above SAGAS['STALL_SECONDS'], which is "
            f"{stall:g}.",
            "Otherwise each saga whose message waits for the next flush counts as stalled.",
        )


def _addresses() -> Iterator[Finding]:
    """Yield addresses that no client of Redis can read. Celery's app may have several brokers."""
    broker: Any = current_app.conf.broker_url
    brokers: list[str] = broker.split(";") if isinstance(broker, str) else list(broker or ())
    for name, url in (
        ("SAGAS['REDIS_URL']", settings.REDIS_URL),
        *(("CELERY_BROKER_URL", url) for url in brokers),
    ):
        if url and (fault := _fault(url)):
            yield Finding(
                "sagas.E066",
                f"{name} is {_without_password(url)!r}, which is no address of a Redis server: "
                f"{fault}.",
                "Use redis://host:port/0, or rediss://host:port/0 for TLS.",
            )


def _fault(url: str) -> str:
    """Return the fault of an address, without its parts, which may be secret. Empty if none."""
    try:
        parse_url(url)
    except ValueError as error:
        text = str(error)
        return "its port is no number" if "Port" in text or "int()" in text else text.rstrip(".")
    return ""


def _without_password(url: str) -> str:
    """Return an address without the part before its host."""
    scheme, separator, rest = url.rpartition("//")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _wrong(name: str, value: Any, wanted: str) -> Finding:
    return Finding(
        "sagas.E067",
        f"SAGAS[{name!r}] is {value!r}, but it must be {wanted}.",
        "Correct it, or leave it out for its default.",
    )
