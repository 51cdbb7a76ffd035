"""Mark a step of one order as done by hand: the money and the stock that are recorded as moved."""

from collections.abc import Sequence
from typing import Any

from backoffice.money import Undecided, captured, reserved_units, undecided
from console.bulk_actions.action import Tile, undecided_charges
from console.bulk_actions.actions.mark_done import MarkDone
from console.bulk_actions.preview import Impact, OrderQueries
from sagas.currencies import with_currency
from sagas.definition.plan import service_name
from sagas.definition.results import RESULTS

__all__ = ["MarkDoneWithMoney"]

# The parts that sagas, such as returns, have asked for and do not have yet. A step that has not run
# has no row of its part, so the message has the amount.
PARTS = """
SELECT currency, sum(amount)::bigint
  FROM (SELECT currency, amount - refunded_amount AS amount FROM payments_partialrefund
         WHERE id = ANY(%(orders)s::uuid[]) AND status = 'pending'
        UNION ALL
        SELECT accepted ->> 'currency', (accepted ->> 'amount')::bigint
          FROM {inbox} AS row
               CROSS JOIN LATERAL (SELECT message #> %(accepted)s::text[] AS accepted) AS result
         WHERE saga = ANY(%(orders)s::uuid[]) AND step = 'payments.refund_part'
           AND state IN ('started', 'waiting', 'held') AND accepted IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM payments_partialrefund part WHERE part.id = row.saga)
       ) AS parts
 GROUP BY currency ORDER BY currency
"""
ACCEPTED = ["message", "context", RESULTS, "returns.accept"]


class MarkDoneWithMoney(MarkDone):
    """Shows what money and stock the steps of payments and inventory record as moved."""

    def moved(self, queries: OrderQueries, step: str) -> dict[str, Any]:
        """Return the refunds of a step of payments, or the units of a step of inventory."""
        unknown = undecided(queries) if step == "payments.refund" else Undecided(0, {})
        return {
            "refunds": _refunds(queries, step),
            "unknown_charges": unknown.charges,
            "undecided": unknown.amounts,
            "units": reserved_units(queries) if service_name(step) == "inventory" else 0,
        }

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show the step, the money and the stock that would be recorded."""
        refunds = [
            Tile(
                "Money recorded as refunded",
                with_currency(amount, currency),
                "the gateway is not asked",
                "bad",
            )
            for currency, amount in impact.refunds.items()
        ]
        units = [Tile("Units recorded as moved", impact.units, "recorded here, as you state")]
        undecided = [undecided_charges(impact)] if impact.unknown_charges else []
        return *super().tiles(impact), *refunds, *undecided, *(units if impact.units else [])


def _refunds(queries: OrderQueries, step: str) -> dict[str, int]:
    """Return the amounts that a step would record as refunded, by currency."""
    match step:
        case "payments.refund":
            return captured(queries)
        case "payments.refund_part":
            return dict(queries.rows("payments", PARTS, accepted=ACCEPTED))
    return {}
