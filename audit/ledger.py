"""The gateways' ledgers, as the audit reads them: from its tables where it is simulated, else from
its own statement.

Which gateways there are, the payments say: an order that was paid through another than today's is
looked up there.
"""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID

from django.conf import settings

from audit.case import Movement
from audit.databases import fetch, keys
from payments.gateways import base, get_gateway

__all__ = ["Ledger", "ledger"]

TABLE = ("payments", "payments_simulatedcharge", "order_id")
MOVED = """
SELECT order_id, kind, charge_id, amount, currency FROM payments_simulatedcharge
 WHERE order_id = ANY(%(orders)s::uuid[])
"""
KEPT = """
SELECT currency, sum(CASE kind WHEN 'capture' THEN amount ELSE -amount END)::bigint FROM payments_simulatedcharge
 WHERE order_id = ANY(%(orders)s::uuid[]) GROUP BY currency
"""
AS_KNOWN = """
SELECT order_id, kind, charge_id, moved, currency
  FROM payments_payment, LATERAL (VALUES ('capture', amount), ('refund', refunded_amount)) AS movement (kind, moved)
 WHERE order_id = ANY(%(orders)s::uuid[]) AND status IN ('captured', 'refunded') AND moved > 0
   AND gateway = ANY(%(gateways)s::text[])
"""
NAMED = "SELECT DISTINCT gateway FROM payments_payment"
OLDEST = "SELECT min(created_at) FROM payments_payment"

# A statement is read on with each page of orders, from this much before it was last read: clocks
# differ, and a refund may have been under way when it was listed first.
OVERLAP = timedelta(hours=1)

PAGE = 5_000


class Ledger(ABC):
    """Whose books are looked at. `note` says where that matters."""

    note = ""

    @abstractmethod
    def moved(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield what was moved for some orders, as of now."""

    def orders(self) -> Iterator[list[UUID]]:
        """Yield all orders for which anything was moved, in pages."""
        return iter(())

    def kept(self, orders: Sequence[UUID]) -> Counter[str]:
        """Return what is kept of some orders, by currency, in minor units."""
        return Counter()


class SimulatedLedger(Ledger):
    """The simulated gateway's own table."""

    def moved(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield the rows of the orders."""
        return (
            (order, Movement(*row))
            for order, *row in fetch("payments", MOVED, {"orders": list(orders)})
        )

    def orders(self) -> Iterator[list[UUID]]:
        """Yield the orders of its rows."""
        return keys(*TABLE)

    def kept(self, orders: Sequence[UUID]) -> Counter[str]:
        """Sum the rows of the orders."""
        return Counter(dict(fetch("payments", KEPT, {"orders": list(orders)})))


class KnownLedger(Ledger):
    """What payments knows of the gateway's ledger stands in for it."""

    note = "by what payments knows alone: the gateway was not asked"

    def moved(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield what payments says was moved."""
        names = ["stripe", *([""] if settings.PAYMENT_GATEWAY == "stripe" else [])]
        params = {"orders": list(orders), "gateways": names}
        return ((order, Movement(*row)) for order, *row in fetch("payments", AS_KNOWN, params))


class Statement(Ledger):
    """The gateway's statement since our oldest payment, as far as it names orders."""

    def __init__(self) -> None:
        self.read_until: datetime | None = fetch("payments", OLDEST)[0][0]
        self.lines: dict[UUID, dict[str, base.Movement]] = defaultdict(dict)
        self.order_of: dict[str, UUID] = {}

    def moved(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield the lines of the orders, read to the moment."""
        self._read()
        for order in orders:
            yield from ((order, _movement(line)) for line in self._of(order))

    def orders(self) -> Iterator[list[UUID]]:
        """Yield the orders it names."""
        named = sorted(self.lines)
        return (named[start : start + PAGE] for start in range(0, len(named), PAGE))

    def kept(self, orders: Sequence[UUID]) -> Counter[str]:
        """Sum the lines of the orders."""
        kept: Counter[str] = Counter()
        for line in (line for order in orders for line in self._of(order)):
            kept[line.currency] += line.amount if line.kind == "capture" else -line.amount
        return kept

    def _of(self, order: UUID) -> list[base.Movement]:
        return list(self.lines[order].values()) if order in self.lines else []

    def _read(self) -> None:
        if self.read_until is None:
            return
        now = datetime.now(UTC)
        for line in get_gateway("stripe").statement(self.read_until - OVERLAP, now + OVERLAP):
            if (
                line.order_id
            ):  # a refund by hand names none: it is that of its charge, and captures come first
                self.order_of.setdefault(line.charge_id, line.order_id)
            if order := line.order_id or self.order_of.get(line.charge_id):
                self.lines[order][line.id] = line
        self.read_until = now


class SeveralLedgers(Ledger):
    """The books of several gateways, one after the other."""

    def __init__(self, *ledgers: Ledger) -> None:
        self.ledgers = ledgers
        self.note = "; ".join(ledger.note for ledger in ledgers if ledger.note)

    def moved(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield what was moved by each."""
        return chain.from_iterable(ledger.moved(orders) for ledger in self.ledgers)

    def orders(self) -> Iterator[list[UUID]]:
        """Yield the orders of each."""
        return chain.from_iterable(ledger.orders() for ledger in self.ledgers)

    def kept(self, orders: Sequence[UUID]) -> Counter[str]:
        """Sum what each keeps."""
        kept: Counter[str] = Counter()
        for ledger in self.ledgers:
            kept.update(ledger.kept(orders))
        return kept


def ledger(*, ask_gateway: bool) -> Ledger:
    """Return the ledger of the gateways there are; where Stripe is not to be asked, what
    payments knows of it.
    """
    named = {name or settings.PAYMENT_GATEWAY for (name,) in fetch("payments", NAMED)} | {
        settings.PAYMENT_GATEWAY
    }
    ledgers: list[Ledger] = [SimulatedLedger()] if named - {"stripe"} else []
    if "stripe" in named:
        ledgers.append(Statement() if ask_gateway else KnownLedger())
    return SeveralLedgers(*ledgers)


def _movement(line: base.Movement) -> Movement:
    return Movement(line.kind, line.charge_id, line.amount, line.currency)
