"""The ledgers of the payment gateways, as the audit reads them.

The simulated gateway's ledger is a table. The ledger of any other gateway is the statement that it
returns. The payments name their gateway, so an order that was paid through an earlier gateway is
looked up there.
"""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID

from django.conf import settings

from audit.databases import fetch, keys
from audit.snapshot import Movement
from payments.gateways import base, get_gateway, knows_gateway

__all__ = ["GATEWAYS", "Ledger", "get_ledger"]

TABLE = ("payments", "payments_simulatedcharge", "order_id")

MOVEMENTS = """
SELECT order_id, kind, charge_id, amount, currency, key FROM payments_simulatedcharge
 WHERE order_id = ANY(%(orders)s::uuid[])
"""

NET_CAPTURED = """
SELECT currency,
       sum(CASE WHEN kind IN ('capture', 'dispute_return') THEN amount ELSE -amount END)::bigint
  FROM payments_simulatedcharge
 WHERE order_id = ANY(%(orders)s::uuid[]) GROUP BY currency
"""

PAYMENTS_AS_MOVEMENTS = """
SELECT order_id, kind, charge_id, moved, currency, key
  FROM payments_payment payment,
       LATERAL (SELECT coalesce(sum(refunded_amount), 0) AS refunded
                  FROM payments_partialrefund part WHERE part.order_id = payment.order_id) AS parts,
       LATERAL (SELECT 'capture' AS kind, coalesce(captured_amount, amount) AS moved, '' AS key
                UNION ALL SELECT 'refund', refunded_amount - parts.refunded, ''
                UNION ALL SELECT 'dispute', disputed_amount, ''
                UNION ALL SELECT 'refund', refunded_amount, key FROM payments_partialrefund part
                           WHERE part.order_id = payment.order_id) AS movement
 WHERE order_id = ANY(%(orders)s::uuid[]) AND status IN ('captured', 'refunded') AND moved > 0
   AND gateway = ANY(%(gateways)s::text[])
"""

# A loose index scan: one lookup for each name, also in a table of millions.
GATEWAYS = """
WITH RECURSIVE names (gateway) AS (
    (SELECT gateway FROM payments_payment ORDER BY gateway LIMIT 1)
    UNION ALL
    SELECT (SELECT gateway FROM payments_payment
             WHERE gateway > names.gateway ORDER BY gateway LIMIT 1)
      FROM names WHERE names.gateway IS NOT NULL
)
SELECT gateway FROM names WHERE gateway IS NOT NULL
"""
OLDEST_PAYMENT = """
SELECT min(created_at) FROM payments_payment WHERE gateway = ANY(%(gateways)s::text[])
"""

NOT_ASKED = "from our payments only: the gateway was not asked"

# Each page of orders reads the statement on. It starts this much before the last read, because
# clocks differ, and a refund may have been in progress at the last read.
OVERLAP = timedelta(hours=1)

# Order ids in one page of `orders`.
PAGE = 5_000


class Ledger(ABC):
    """A gateway's ledger. `note` tells the reader of a report if it is only a substitute."""

    note = ""

    @abstractmethod
    def movements(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield the movements of money of some orders, as of now."""

    def orders(self) -> Iterator[list[UUID]]:
        """Yield all orders that the ledger names, in pages."""
        return iter(())

    def kept(self, orders: Sequence[UUID]) -> Counter[str]:
        """Return the money kept of some orders, by currency, in minor units."""
        return Counter()


class SimulatedLedger(Ledger):
    """The simulated gateway's own table."""

    def movements(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield the rows of the orders."""
        rows = fetch("payments", MOVEMENTS, {"orders": list(orders)})
        return ((order, Movement(*row)) for order, *row in rows)

    def orders(self) -> Iterator[list[UUID]]:
        """Yield the orders of its rows."""
        return keys(*TABLE)

    def kept(self, orders: Sequence[UUID]) -> Counter[str]:
        """Sum the rows of the orders."""
        return Counter(dict(fetch("payments", NET_CAPTURED, {"orders": list(orders)})))


class PaymentsAsLedger(Ledger):
    """The payments table, as a substitute for the ledgers of gateways that are not asked."""

    def __init__(self, gateways: Iterable[str], note: str) -> None:
        self.gateways = _stored_names(gateways)
        self.note = note

    def movements(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield the movements that the payments table implies."""
        params = {"orders": list(orders), "gateways": self.gateways}
        rows = fetch("payments", PAYMENTS_AS_MOVEMENTS, params)
        return ((order, Movement(*row)) for order, *row in rows)


class Statement(Ledger):
    """A gateway's statement since its oldest payment, with the lines that belong to orders."""

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        params = {"gateways": _stored_names([gateway])}
        self.read_until: datetime | None = fetch("payments", OLDEST_PAYMENT, params)[0][0]
        self.lines: dict[UUID, dict[tuple[str, str], base.Movement]] = defaultdict(dict)
        self.order_of_charge: dict[str, UUID] = {}

    def movements(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield the lines of the orders, after reading the statement up to now."""
        self._read()
        for order in orders:
            yield from ((order, _movement(line)) for line in self._lines_of(order))

    def orders(self) -> Iterator[list[UUID]]:
        """Yield the orders that its lines name."""
        named = sorted(self.lines)
        return (named[start : start + PAGE] for start in range(0, len(named), PAGE))

    def kept(self, orders: Sequence[UUID]) -> Counter[str]:
        """Sum the lines of the orders."""
        total: Counter[str] = Counter()
        for line in (line for order in orders for line in self._lines_of(order)):
            total[line.currency] += _movement(line).kept
        return total

    def _lines_of(self, order: UUID) -> list[base.Movement]:
        return list(self.lines[order].values()) if order in self.lines else []

    def _read(self) -> None:
        if self.read_until is None:
            return

        now = datetime.now(UTC)
        statement = get_gateway(self.gateway).statement(self.read_until - OVERLAP, now + OVERLAP)
        for line in statement:
            # A refund made on the gateway's own page names no order, but its charge does. The
            # statement lists captures first.
            if line.order_id:
                self.order_of_charge.setdefault(line.charge_id, line.order_id)
            if order := line.order_id or self.order_of_charge.get(line.charge_id):
                self.lines[order][line.kind, line.id] = line
        self.read_until = now


class CombinedLedger(Ledger):
    """The ledgers of several gateways, one after the other."""

    def __init__(self, *ledgers: Ledger) -> None:
        self.ledgers = ledgers
        self.note = "; ".join(ledger.note for ledger in ledgers if ledger.note)

    def movements(self, orders: Sequence[UUID]) -> Iterator[tuple[UUID, Movement]]:
        """Yield the movements of each ledger."""
        return chain.from_iterable(ledger.movements(orders) for ledger in self.ledgers)

    def orders(self) -> Iterator[list[UUID]]:
        """Yield the orders of each ledger."""
        return chain.from_iterable(ledger.orders() for ledger in self.ledgers)

    def kept(self, orders: Sequence[UUID]) -> Counter[str]:
        """Sum the ledgers."""
        total: Counter[str] = Counter()
        for ledger in self.ledgers:
            total.update(ledger.kept(orders))
        return total


def get_ledger(*, ask_gateway: bool) -> Ledger:
    """Return the ledger of all gateways in use.

    The payments table replaces the statement of a gateway that this release does not have, and with
    `ask_gateway=False` every statement.
    """
    stored = {name or settings.PAYMENT_GATEWAY for (name,) in fetch("payments", GATEWAYS)}
    others = sorted((stored | {settings.PAYMENT_GATEWAY}) - {"simulated"})
    asked = [name for name in others if ask_gateway and knows_gateway(name)]
    unknown = [name for name in others if not knows_gateway(name)]
    skipped = [name for name in others if name not in (*asked, *unknown)]

    ledgers: list[Ledger] = [Statement(name) for name in asked]
    if "simulated" in (*stored, settings.PAYMENT_GATEWAY):
        ledgers.append(SimulatedLedger())
    if skipped:
        ledgers.append(PaymentsAsLedger(skipped, NOT_ASKED))
    if unknown:
        note = f"from our payments only: this release has no gateway {', '.join(unknown)}"
        ledgers.append(PaymentsAsLedger(unknown, note))
    return CombinedLedger(*ledgers)


def _stored_names(gateways: Iterable[str]) -> list[str]:
    """Return the names of gateways as payments store them: the configured one also as empty."""
    names = set(gateways)
    return sorted(names | ({""} if settings.PAYMENT_GATEWAY in names else set()))


def _movement(line: base.Movement) -> Movement:
    return Movement(line.kind, line.charge_id, line.amount, line.currency, line.key)
