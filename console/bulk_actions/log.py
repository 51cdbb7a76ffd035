"""Entries of the operators' log, and the impact of a run in words."""

from collections.abc import Mapping

from django.contrib.auth.models import User

from console.bulk_actions.preview import Impact
from console.bulk_actions.results import NotAllowed
from console.models import Run
from sagas.currencies import with_currency
from sagas.definition.hold_scope import HoldScope
from staff.log import About, record
from staff.models import LogEntry

__all__ = ["about_scope", "log", "rejection_kind", "summary"]

MOST_SUBJECT = LogEntry._meta.get_field("subject").max_length or 0


def about_scope(scope: HoldScope) -> About:
    """Return the columns of an entry about a step of all sagas, or its calls to a destination.

    A name that is longer than the column is cut off.
    """
    about: About = {"step": scope.step}
    if scope.destination:
        about["subject"] = f"calls to {scope.destination}"[:MOST_SUBJECT]
    return about


def log(run: Run, person: User, kind: str, about: About, *, via: str = "") -> None:
    """Add an entry about a run. `about` has the outcome, and the columns of one saga if any.

    `via` is the surface of this entry; by default the one where the run was requested.
    """
    of_run: About = {**about_scope(run.scope), "why": run.reason}
    if run.decided_by:
        of_run["approver"] = run.decided_by.get_username()
    record(person, kind, run.action, {**of_run, **about}, via=via or run.via, run=run.id)


def rejection_kind(error: Exception) -> LogEntry.Kind:
    """Return the kind of the entry about a rejected run: refused to the person, or failed."""
    return LogEntry.Kind.REFUSED if isinstance(error, NotAllowed) else LogEntry.Kind.FAILED


def summary(impact: Impact) -> str:
    """Return the figures of a preview as one sentence for the log."""
    is_known = not impact.unknown_charges and not impact.unpriced
    none = "no money" if is_known else "no known money"
    figures = [
        f"{impact.affected} of {impact.orders} sagas change",
        f"{_amounts(impact.refunds) or none} refunded",
    ]
    if impact.units:
        figures.append(f"{impact.units} units of stock")
    if impact.unknown_charges:
        amounts = f" ({_amounts(impact.undecided)})" if impact.undecided else ""
        figures.append(f"{impact.unknown_charges} charges of unknown outcome{amounts}")
    figures.append(f"{impact.messages} messages")

    owed = f" Owed refunds repeated: {_amounts(impact.owed)}." if impact.owed else ""
    return f"Preview: {', '.join(figures)}.{owed}"


def _amounts(by_currency: Mapping[str, int]) -> str:
    return ", ".join(with_currency(amount, currency) for currency, amount in by_currency.items())
