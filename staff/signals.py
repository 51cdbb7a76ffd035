"""Staff answer a wait of a saga: as the policy permits, and in the log."""

from typing import Any

from django.db import transaction

from sagas import SignalResult, signal
from sagas.kinds import kind_of
from sagas.models import TrackedSaga
from sagas.operations.saga_rows import plan_of
from sagas.storage.registry import service_of_step
from sagas.waits import WaitRule, rule_of
from staff.policy import Actor
from staff.writes import LOG_ALIAS, SEVERAL, Rejected, staff_write

__all__ = ["SIGNAL", "answer_wait", "signal_action", "wait_rule"]

# The action of the policy, unless the domain names one of its own.
SIGNAL = "signal"

TOO_LATE = "{step} takes no signal: it has expired, or the saga is over, or was cancelled."


def wait_rule(row: TrackedSaga, step: str) -> WaitRule:
    """Return the rule of a wait in the plan of a saga.

    Raises `LookupError` if the plan has no such wait, or the saga was never started.
    """
    return rule_of(plan_of(row), step)


def signal_action(model: type[TrackedSaga], step: str) -> str:
    """Return the action of the policy that a person needs to answer a wait of a kind of saga."""
    return kind_of(model).signal_action(step) or SIGNAL


def answer_wait(
    actor: Actor, row: TrackedSaga, step: str, event: Any, *, why: str, via: str
) -> SignalResult:
    """Answer a wait, and return whether this answer counts or an earlier one does.

    `why` is the person's reason. Raises `NotPermitted`, `Rejected` if the signal comes too late,
    `LookupError`, and `sagas.waits.WrongSignal`. The domain may refuse the answer as well. Each
    attempt is in the log.
    """
    if not why.strip():
        raise Rejected("Give a reason. The log of staff keeps it.")

    alias = service_of_step(step).alias
    place = alias if alias == LOG_ALIAS else SEVERAL
    about = f"{event.type} for {step}"[:200]
    kind, action = kind_of(type(row)), signal_action(type(row), step)
    with (
        staff_write(
            actor,
            action,
            via=via,
            alias=place,
            kinds=[kind],
            subject=about,
            order_id=row.pk,
            step=step,
            why=why,
        ) as write,
        transaction.atomic(using=alias),
    ):
        kind.check_answer(row, step, event, by=actor.get_username())
        result = signal(row, step, event, by=actor.get_username(), why=why)
        if result is SignalResult.TOO_LATE:
            raise Rejected(TOO_LATE.format(step=step))
        write.outcome = _in_words(result, step, event.type)
    return result


def _in_words(result: SignalResult, step: str, answer: str) -> str:
    if result is SignalResult.REPEATED:
        return f"{step} had an answer already, which counts. This one has no effect."
    return f"{step} is answered with {answer}."
