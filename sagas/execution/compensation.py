"""Barring: before an undo runs, the action that it undoes is refused for ever."""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple
from uuid import UUID

from sagas.definition import handlers
from sagas.definition.messages import Message
from sagas.definition.plan import Direction, Plan, service_name
from sagas.definition.results import Facts, reads_of, results_in
from sagas.storage import inbox, outbox
from sagas.storage.registry import Service

__all__ = ["ActionStates", "bar_action"]


class ActionStates(NamedTuple):
    """The sagas whose action is done, and the sagas whose external pivot is still open.

    `results`: for a saga whose message lacks it, the result of the action, by the action's name.
    """

    done: Set[UUID]
    pivot_open: Set[UUID]
    results: Mapping[UUID, Mapping[str, Facts]] = {}


NO_ACTION = ActionStates(done=frozenset(), pivot_open=frozenset())


def bar_action(
    service: Service, plan: Plan, step: str, messages: Sequence[Message]
) -> ActionStates:
    """Bar the action that `step` undoes, if this service runs it; return the states of the action.

    The caller has claimed or locked the rows of `step`. A forward step bars nothing. The bar of a
    pivot leaves an external pivot that has started open, because only its outcome decides.
    """
    if not messages or plan.direction(step) is Direction.FORWARD:
        return NO_ACTION

    action = plan.action_of(step)
    if action is None or service_name(action) != service.name:
        return NO_ACTION

    sagas = [message.saga for message in messages]
    waits_for_pivot = step == plan.bar and handlers.is_external(action)
    inbox.bar(service, action, messages, reason=f"Barred by {step}.", keep_open=waits_for_pivot)

    # Ask for the open ones first: a pivot that ends between the two statements is then in one of
    # the sets.
    pivot_open = inbox.sagas_open(service, action, sagas) if waits_for_pivot else frozenset()
    done = inbox.sagas_done(service, action, sagas)
    results = _results(service, step, action, [each for each in messages if each.saga in done])
    return ActionStates(done=done, pivot_open=pivot_open, results=results)


def _results(
    service: Service, step: str, action: str, messages: Sequence[Message]
) -> Mapping[UUID, Mapping[str, Facts]]:
    """Return the results of a done action that `step` reads and its messages lack.

    A compensation that a cancel began knows no results, but this service has written the event.
    """
    definition = handlers.definition(step)
    if definition is None or all(read.step != action for read in reads_of(definition.accepts)):
        return {}

    lacking = [each.saga for each in messages if action not in results_in(each.context)]
    if not lacking:
        return {}
    facts = outbox.facts_of(service, action, lacking)
    return {saga: {action: found} for saga, found in facts.items()}
