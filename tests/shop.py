"""The shop that the tests and the documents describe.

A further service may be in the registry: the project with the step of the README passes the tests.
So a test that knows the events, rows or amounts of the shop names these services only.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from msgspec import structs

from sagas.definition.plan import Plan, Saga, service_name
from services import NAMES

__all__ = ["FURTHER", "SHOP", "of_shop", "only_shop", "position"]

SHOP = ("orders", "payments", "inventory", "returns")

# The services that the registry has beside them.
FURTHER = frozenset(NAMES) - set(SHOP)


def of_shop(plan: Plan) -> Plan:
    """Return a plan without the steps of further services."""
    steps = tuple(step for step in plan.actions if service_name(step.name) not in FURTHER)
    return structs.replace(plan, steps=steps)


def position(step: str, plan: Plan) -> int:
    """Return the place of an action in a plan, from 1: its event has it as sequence number."""
    return [action.name for action in plan.actions].index(step) + 1


@contextmanager
def only_shop(*sagas: Saga) -> Iterator[None]:
    """Let sagas start without the steps of further services while the context lasts."""
    with ExitStack() as patches:
        for saga in sagas:
            patches.enter_context(patch.object(saga, "plan", of_shop(saga.plan)))
        yield
