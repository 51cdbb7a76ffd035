"""Entries of the operators' log, and the impact of a run in words."""

from collections.abc import Mapping
from uuid import UUID

from django.contrib.auth.models import User

from console.bulk_actions.preview import Impact
from console.models import LogEntry, Run
from payments.gateways.currencies import with_currency

__all__ = ["log", "summary"]


def log(
    run: Run, person: User, kind: str, outcome: str = "", **about_order: UUID | str | None
) -> None:
    """Add an entry about a run. `about_order` holds the columns of an entry about one order."""
    LogEntry.objects.create(
        who=person.get_username(),
        what=kind,
        action=run.action,
        step=run.step,
        run=run.id,
        why=run.reason,
        outcome=outcome,
        **about_order,
    )


def summary(impact: Impact) -> str:
    """Return the figures of a preview as one sentence for the log."""
    refunds = _amounts(impact.refunds)
    undecided = f" ({_amounts(impact.undecided)})" if impact.undecided else ""
    none = "no known money" if impact.unknown_charges else "no money"
    return (
        f"Preview: {impact.affected} of {impact.orders} orders change,"
        f" {refunds or none} refunded, {impact.units} units of stock,"
        f" {impact.unknown_charges} charges of unknown outcome{undecided},"
        f" {impact.messages} messages."
    )


def _amounts(by_currency: Mapping[str, int]) -> str:
    return ", ".join(with_currency(amount, currency) for currency, amount in by_currency.items())
