"""The limits of calls to outside systems: operators read them, and set them while workers run.

A lower limit is a brake, like a hold of a step. A higher one, or none, lets more calls start, so it
takes the permission to release a step.
"""

from dataclasses import dataclass
from functools import partial

from django.db import transaction

from console.partial_reader import PartialReader
from sagas.definition import handlers
from sagas.definition.handlers import ExternalStep
from sagas.definition.limits import NO_LIMIT, DefaultLimit, Limit, Limits
from sagas.definition.plan import service_name
from sagas.storage import call_limits
from sagas.storage.call_limits import SetLimit
from sagas.storage.registry import Service, get_service, service_names
from staff.policy import Actor
from staff.writes import Rejected, check_permitted, staff_write

__all__ = ["LOWER", "MOST", "RAISE", "CurrentLimits", "change_limit", "current_limits"]

# The actions of the policy.
LOWER = "limit_calls"
RAISE = "raise_limit"

# The highest limit, and the longest key.
MOST = 100_000
LONGEST_KEY = 300


@dataclass(frozen=True, kw_only=True)
class CurrentLimits:
    """The limits that are set or reached, each with its service.

    `unreachable` names the services that did not answer. Their limits are unknown.
    """

    limits: list[tuple[str, SetLimit]]
    unreachable: list[str]


def current_limits(reader: PartialReader | None = None) -> CurrentLimits:
    """Read the limits of every service."""
    reader = reader or PartialReader()
    limits = [
        (service.name, limit)
        for service in map(get_service, service_names())
        for limit in reader.read(service.name, partial(call_limits.listed, service))
    ]
    return CurrentLimits(limits=limits, unreachable=reader.unreachable)


def change_limit(
    actor: Actor, service: str, key: str, limit: Limit | None, *, reason: str, via: str
) -> str:
    """Set the limit of a key, or let its default hold again (None); return the outcome in words.

    Running workers use it from their next claim on. Raises `Rejected` and `NotPermitted`.
    """
    subject = f"{service}: {key}"[:200]
    check_permitted(actor, LOWER, via=via, subject=subject, why=reason)
    _check(service, key, limit, reason)

    home = get_service(service)
    action = RAISE if _lets_more_start(home, key, limit) else LOWER
    with (
        staff_write(actor, action, via=via, alias=home.alias, subject=subject, why=reason) as write,
        transaction.atomic(using=home.alias),
    ):
        write.outcome = _change(home, key, limit, by=actor.get_username(), why=reason)
    return write.outcome


def _check(service: str, key: str, limit: Limit | None, reason: str) -> None:
    if service not in service_names():
        raise Rejected(f"There is no service “{service}”. Choose one of {_names()}.")
    if not key or len(key) > LONGEST_KEY:
        raise Rejected(
            f"A key has 1 to {LONGEST_KEY} characters. Name a step or an outside system."
        )
    if not reason:
        raise Rejected("Give a reason. The log of staff keeps it.")
    for most in (limit.per_second, limit.at_once) if limit else ():
        if most is not None and not 1 <= most <= MOST:
            raise Rejected(f"A limit is 1 to {MOST:,}. To stop a step, put it on hold instead.")


def _lets_more_start(service: Service, key: str, limit: Limit | None) -> bool:
    """Return whether more calls of a key may start after a change, with the default of any step."""
    before = call_limits.by_operators(service).by_key
    after = {name: other for name, other in before.items() if name != key}
    if limit is not None:
        after[key] = limit

    # A pattern's default is not known, because each key below it has its own.
    if key.endswith("/*") and not (key in before and key in after):
        return True
    return any(
        not _is_within(Limits(after).of(key, default), Limits(before).of(key, default))
        for default in _defaults(service)
    )


def _defaults(service: Service) -> list[DefaultLimit]:
    """Return the defaults of a service's external steps; without such a step, that of no limit."""
    found: list[DefaultLimit] = [
        step.handler.limit
        for step in map(handlers.definition, handlers.names())
        if step and service_name(step.name) == service.name
        if isinstance(step.handler, ExternalStep)
    ]
    return found or [lambda key: NO_LIMIT]


def _is_within(limit: Limit, other: Limit) -> bool:
    pairs = ((limit.per_second, other.per_second), (limit.at_once, other.at_once))
    return all(most is None or (mine is not None and mine <= most) for mine, most in pairs)


def _change(service: Service, key: str, limit: Limit | None, *, by: str, why: str) -> str:
    if limit is None:
        if not call_limits.remove(service, key):
            raise Rejected(f"No limit of “{key}” is set.")
        return f"The default limit of {key} holds again."
    call_limits.set_limit(service, key, limit, by=by, why=why)
    return f"{key} has {_words(limit)}."


def _words(limit: Limit) -> str:
    parts = []
    if limit.per_second is not None:
        parts.append(f"at most {limit.per_second} calls per second")
    if limit.at_once is not None:
        parts.append(f"at most {limit.at_once} calls at once")
    return " and ".join(parts) or "no limit"


def _names() -> str:
    return ", ".join(service_names())
