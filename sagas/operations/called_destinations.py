"""Checks of the destinations that operators put on hold: may a step call them, and has it?

A hold of a destination that no call goes to stops nothing, so operators must hear of it.
"""

from sagas import sql
from sagas.definition import handlers
from sagas.definition.handlers import ExternalStep
from sagas.definition.hold_scope import HoldScope, WrongDestination, check_destination
from sagas.storage.registry import Service

__all__ = ["HAS_CALLED", "MOST_RECENT", "has_called", "require_destination"]

# Rows of a service's inbox, the newest and the held ones, in which a destination is looked up.
MOST_RECENT = 10_000

# 1 if a call of the step to the destination is known, else 0. The key of a limit counts only if a
# process has asked for permits of it: then `by` is empty, or the last use is after the set limit.
HAS_CALLED = """
SELECT (EXISTS (SELECT 1 FROM {limit} WHERE key = %(destination)s AND (by = '' OR used_at > since))
     OR EXISTS (SELECT 1 FROM {hold}
                 WHERE calling_step = %(step)s AND destination = %(destination)s AND automatic)
     OR EXISTS (SELECT 1 FROM {fault} WHERE step = %(step)s AND destination = %(destination)s)
     OR EXISTS (SELECT 1 FROM (SELECT destination FROM {inbox}
                                WHERE state = 'held' AND step = %(step)s
                                ORDER BY id LIMIT %(recent)s) held
                 WHERE destination = %(destination)s)
     OR EXISTS (SELECT 1 FROM (SELECT step, destination FROM {inbox}
                                ORDER BY id DESC LIMIT %(recent)s) newest
                 WHERE step = %(step)s AND destination = %(destination)s))::int
"""


def require_destination(scope: HoldScope) -> None:
    """Raise `WrongDestination` if no call of the step can go to the destination of a scope.

    A whole step is always right. A step that this release does not know may call any destination.
    """
    if not scope.destination:
        return

    check_destination(scope.destination)
    definition = handlers.definition(scope.step)
    if definition is None:
        return
    if not isinstance(definition.handler, ExternalStep):
        raise WrongDestination(
            f"{scope.step} calls no outside system, so it has no destinations. Put the whole step "
            "on hold."
        )
    if getattr(definition.handler.destination, "__func__", None) is ExternalStep.destination:
        raise WrongDestination(
            f"{scope.step} names no destination of its calls. Put the whole step on hold."
        )


def has_called(service: Service, scope: HoldScope) -> bool:
    """Tell whether a call of the step to the destination is known, from recent rows only."""
    statement = HAS_CALLED.format(
        inbox=service.inbox, hold=service.hold, limit=service.limit, fault=service.fault
    )
    params = {**scope._asdict(), "recent": MOST_RECENT}
    [(number,)] = sql.fetch(service.alias, statement, params)
    return bool(number)
