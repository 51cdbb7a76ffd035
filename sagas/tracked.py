"""Start and cancel a saga by its tracked row. `sagas.start` and `sagas.cancel` are these."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from django.db import router, transaction

from sagas import lifecycle
from sagas.definition.events import Event, Refusal
from sagas.definition.plan import Plan, Saga
from sagas.lifecycle import CancelRequest, CancelResult
from sagas.models import TrackedSaga
from sagas.storage import outbox, timeline
from sagas.storage.registry import Home, get_home, get_service, service_of_step

__all__ = ["cancel", "decides_here", "start"]

R = TypeVar("R", bound=TrackedSaga)


def start(
    declaration: Saga,
    row: R,
    event: Event,
    *,
    headers: Mapping[str, str] | None = None,
) -> R:
    """Insert the tracked row of a saga, and start the saga, in one transaction; return the row.

    Call it inside the transaction that makes the saga necessary, if there is one. `row` is not
    saved yet, and its primary key is a UUID. The fields of `event` become the context of every
    step. `headers` travel with all messages; each value is a text. Raises TypeError if the row is
    already in the database or of another home, or if a field of the event has a value of another
    type. Raises it also as `Saga.plan_for` does.
    """
    home = get_home(declaration.plan.home)
    _require_fit(home, row, event)
    plan = declaration.plan_for(event)
    alias = home.alias
    with transaction.atomic(using=alias, savepoint=False):
        row.plan = msgspec.to_builtins(plan)
        row.save(force_insert=True, using=alias)
        row.refresh_from_db(using=alias, fields=["created_at"])
        lifecycle.start(
            declaration,
            saga=row.pk,
            started_at=row.created_at,
            event=event,
            headers=headers,
            with_rows=timeline.start_cte(row._meta.db_table, row.pk),
            plan=plan,
        )
    if declaration.deadline is not None:
        row.deadline_at = row.created_at + declaration.deadline
    return row


def cancel(row: TrackedSaga, event: Refusal) -> CancelResult:
    """Cancel a saga that has not passed its pivot. The refusal says why.

    Call it outside of other transactions, or lock no row before it that a step locks. The result:

    - `OURS`: the saga is cancelled, and all that was done is undone;
    - `REFUSED`: the saga was cancelled or refused before;
    - `DONE`: the pivot is done, so the saga goes on to its end;
    - `UNDECIDED`: the pivot is in another service, or waits for an outside system. The service of
      the pivot decides. A repeated call sends no second request.

    Raises ValueError if the saga has no pivot, or if its pivot is in another database and has no
    bar. Raises LookupError if the saga was never started, and TypeError if the event is no refusal.
    """
    if not isinstance(event, Refusal):
        raise TypeError(f"A saga is cancelled with a Refusal, not with {event!r}.")
    if not row.plan:
        raise LookupError(f"{row!r} has no plan: the saga was never started.")

    plan = msgspec.convert(row.plan, Plan)
    alias = router.db_for_write(type(row))
    request = CancelRequest(
        saga=row.pk,
        plan=row.plan,
        started_at=row.created_at,
        # The fields of the first event, which are the context of the saga's messages.
        context=timeline.first_detail(get_home(plan.home), row.pk),
        event=event,
    )

    with transaction.atomic(using=alias):
        if decides_here(row):
            return lifecycle.cancel_before_pivot(request)

        type(row)._base_manager.using(alias).select_for_update().get(pk=row.pk)
        if not outbox.has_row_to(get_service(plan.home), row.pk, plan.bar):
            lifecycle.request_cancel(request)
    return CancelResult.UNDECIDED


def decides_here(row: TrackedSaga) -> bool:
    """Return whether the pivot's inbox row is in the database of the home, which can then bar it.

    Raises ValueError if the saga has no pivot.
    """
    plan = msgspec.convert(row.plan, Plan)
    alias = router.db_for_write(type(row))
    return lifecycle.cancels_at_home(row.plan) or _same_database(plan, alias)


def _require_fit(home: Home, row: TrackedSaga, event: Event) -> None:
    if not isinstance(row, home.kinds):
        kinds = " or ".join(kind.__name__ for kind in home.kinds)
        raise TypeError(f"{row!r} tracks no saga of {home.name}. Pass a row of {kinds}.")
    if not row._state.adding:
        raise TypeError(
            f"{row!r} is in the database already. Pass a row that is not saved: sagas.start "
            "inserts it together with the first message."
        )
    try:
        msgspec.convert(event.facts(), type(event))
    except msgspec.ValidationError as error:
        raise TypeError(f"{type(event).__name__} cannot start a saga: {error}.") from error


def _same_database(plan: Plan, alias: str) -> bool:
    """Return whether the pivot's inbox is in the database of the home, so a cancel can bar it."""
    return plan.pivot is not None and service_of_step(plan.pivot.name).alias == alias
