"""The tiles about money on the start page. An amount that is unknown is never shown as none."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.urls import reverse
from django.utils import timezone
from django.utils.text import Truncator

from audit import scheduled
from audit.metrics import CapturedMoney, UnsettledMoney
from payments import reconciliation
from payments.models import Drift
from payments.open_money import (
    OpenDisputes,
    OpenMoney,
    charges_of_unknown_outcome,
    money_owed,
    open_discrepancies,
    open_disputes,
)
from sagas.admin.formatting import age, length
from sagas.currencies import with_currency

__all__ = ["MoneyTile", "PaymentFigures", "audit_tile", "money_tiles", "payment_figures"]

# Seconds. The alerts MoneyInLimbo and ChargeOutcomeUnknown use the same limits.
UNSETTLED_LIMIT = 900
UNKNOWN_LIMIT = 300

# The alerts ReconciliationOverdue and AuditOverdue use the same limit. Both checks run every hour.
CHECKED_WITHIN = timedelta(hours=3)

# Characters of an error that a tile shows.
MOST_ERROR = 120


@dataclass(frozen=True, kw_only=True)
class MoneyTile:
    """One figure. `tone` is a CSS class: `bad`, `slow`, or none. `link` is empty without a list."""

    name: str
    title: str
    value: str
    note: str
    tone: str = ""
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class PaymentFigures:
    """The figures of payments' own database, by currency; the discrepancies by kind."""

    unknown: dict[str, OpenMoney]
    owed: dict[str, OpenMoney]
    disputes: dict[str, OpenDisputes]
    discrepancies: dict[str, int]
    reconciliation: reconciliation.LastResult


def payment_figures() -> PaymentFigures:
    """Read the figures."""
    return PaymentFigures(
        unknown=charges_of_unknown_outcome(),
        owed=money_owed(),
        disputes=open_disputes(),
        discrepancies=open_discrepancies(),
        reconciliation=reconciliation.last_result(),
    )


def money_tiles(
    unsettled: UnsettledMoney | None, figures: PaymentFigures | None
) -> list[MoneyTile]:
    """Return the tiles. None stands for figures that could not be read: their tiles say so."""
    return [
        *_unsettled(unsettled, figures),
        *(_of_payments(figures) if figures else _not_read()),
    ]


def _unsettled(
    unsettled: UnsettledMoney | None, figures: PaymentFigures | None
) -> Iterator[MoneyTile]:
    if unsettled is None:
        yield _unsettled_tile("unknown", "the databases did not answer in time", "slow")
        return

    for currency, money in unsettled.by_currency.items():
        late = money.seconds is not None and money.seconds > UNSETTLED_LIMIT
        note = _unsettled_note(money, complete=unsettled.complete)
        yield _unsettled_tile(with_currency(money.amount, currency), note, "bad" if late else "")

    if unsettled.by_currency:
        return
    if figures is None:
        yield _unsettled_tile("unknown", "some charges could not be read", "slow")
    elif figures.unknown:
        yield _unsettled_tile("none known", "but some charges are of unknown outcome", "slow")
    else:
        yield _unsettled_tile("none", "no open order has captured money")


def _unsettled_tile(value: str, note: str, tone: str = "") -> MoneyTile:
    return MoneyTile(name="unsettled", title="Unsettled money", value=value, note=note, tone=tone)


def _unsettled_note(money: CapturedMoney, *, complete: bool) -> str:
    oldest = (
        "on hold or waiting as agreed"
        if money.seconds is None
        else f"oldest {_length(money.seconds)}"
    )
    note = f"{_count(money.orders, 'order')}, {oldest}"
    return note if complete else f"{note}; the oldest orders only"


def _of_payments(figures: PaymentFigures) -> Iterator[MoneyTile]:
    yield from _unknown(figures.unknown)
    yield from _owed(figures.owed)
    yield from _disputes(figures.disputes)
    yield _discrepancies(figures.discrepancies)
    yield from _reconciliations(figures.reconciliation)


def _unknown(by_currency: dict[str, OpenMoney]) -> Iterator[MoneyTile]:
    link = _payments("unknown")
    title = "Charges of unknown outcome"
    for currency, money in by_currency.items():
        yield MoneyTile(
            name=f"unknown-{currency}",
            title=title,
            value=with_currency(money.amount, currency),
            note=f"{_count(money.payments, 'payment')}, oldest {_length(money.seconds)}; "
            "the gateway may have captured them",
            tone="bad" if money.seconds > UNKNOWN_LIMIT else "slow",
            link=link,
        )
    if not by_currency:
        yield MoneyTile(
            name="unknown", title=title, value="none", note="the gateway has answered", link=link
        )


def _owed(by_currency: dict[str, OpenMoney]) -> Iterator[MoneyTile]:
    link = _payments("owed")
    title = "Owed to customers"
    for currency, money in by_currency.items():
        yield MoneyTile(
            name=f"owed-{currency}",
            title=title,
            value=with_currency(money.amount, currency),
            note=f"{_count(money.payments, 'payment')}, oldest {_length(money.seconds)}; "
            "their orders have ended, and the money is not back",
            tone="bad",
            link=link,
        )
    if not by_currency:
        yield MoneyTile(
            name="owed", title=title, value="none", note="no order that has ended owes money"
        )


def _disputes(by_currency: dict[str, OpenDisputes]) -> Iterator[MoneyTile]:
    link = f"{reverse('admin:payments_dispute_changelist')}?status__exact=open"
    for currency, open_ in by_currency.items():
        deadline = (
            f"next evidence due {age(open_.respond_by)}" if open_.respond_by else "no evidence due"
        )
        yield MoneyTile(
            name=f"disputes-{currency}",
            title="Open disputes",
            value=with_currency(open_.amount, currency),
            note=f"{_count(open_.disputes, 'dispute')}, {deadline}",
            tone="bad",
            link=link,
        )
    if not by_currency:
        yield MoneyTile(
            name="disputes", title="Open disputes", value="none", note="no dispute is undecided"
        )


def _discrepancies(by_kind: dict[str, int]) -> MoneyTile:
    labels = dict(Drift.Kind.choices)
    found = {kind: number for kind, number in by_kind.items() if number}
    note = "; ".join(f"{number} × {labels.get(kind, kind)}" for kind, number in found.items())
    return MoneyTile(
        name="discrepancies",
        title="Differences from the gateway",
        value=str(sum(found.values())) if found else "none",
        note=note or "no open difference was found",
        tone="bad" if found else "",
        link=f"{reverse('admin:payments_drift_changelist')}?closed_at__isempty=1",
    )


def _reconciliations(last: reconciliation.LastResult) -> Iterator[MoneyTile]:
    for result in last.gateways:
        yield _check_tile(
            "reconciliation",
            f"Last reconciliation with {result.gateway}",
            result.finished_at,
            note=f"compared up to {_utc(result.compared_until)}",
            error=result.error,
        )


def audit_tile(last: scheduled.LastResult | None) -> MoneyTile:
    """Return the tile of the scheduled audit. None stands for a result that could not be read."""
    title = "Last audit of money and stock"
    if last is None:
        return _unknown_tile("audit", title, "the database of orders did not answer in time")

    note = "no violation was found"
    if last.violations:
        note = f"{_count(last.violations, 'violation')} of invariants"
    tile = _check_tile("audit", title, last.finished_at, note=note, error=last.error)
    link = reverse("admin:audit_finding_changelist")
    return replace(tile, link=link, tone="bad" if last.violations else tile.tone)


def _check_tile(
    name: str, title: str, finished_at: datetime | None, *, note: str, error: str
) -> MoneyTile:
    """Return the tile of a check that runs every hour: overdue, failing, or with its result."""
    overdue = finished_at is None or timezone.now() - finished_at > CHECKED_WITHIN
    if finished_at is None:
        note = "the result is unknown until it has run"
    if error:
        note = f"{note}; cannot go on: {Truncator(error).chars(MOST_ERROR)}"
    return MoneyTile(
        name=name,
        title=title,
        value=age(finished_at) if finished_at else "never",
        note=note,
        tone="bad" if error or (overdue and finished_at) else "slow" if overdue else "",
        link=reverse("admin:payments_reconciliation_changelist"),
    )


def _unknown_tile(name: str, title: str, note: str) -> MoneyTile:
    return MoneyTile(name=name, title=title, value="unknown", note=note, tone="slow")


def _utc(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "nothing yet"


def _not_read() -> list[MoneyTile]:
    """Return the tiles of payments while its database does not answer."""
    titles = {
        "unknown": "Charges of unknown outcome",
        "owed": "Owed to customers",
        "disputes": "Open disputes",
        "discrepancies": "Differences from the gateway",
        "reconciliation": "Last reconciliation",
    }
    note = "the database of payments did not answer in time"
    return [_unknown_tile(name, title, note) for name, title in titles.items()]


def _payments(reason: str) -> str:
    return f"{reverse('admin:payments_payment_changelist')}?money={reason}"


def _length(seconds: float) -> str:
    return length(timedelta(seconds=seconds))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
