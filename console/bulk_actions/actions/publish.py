"""Publish every message of a saga again, because the broker may have lost one."""

from collections.abc import Sequence

from console.bulk_actions.action import OrderAction, Tile, changed_orders, unchanged_money
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_services import services_of
from sagas.delivery import wakeup
from sagas.models import TrackedSaga
from sagas.storage import outbox

__all__ = ["Publish"]

SENT = "SELECT saga FROM {outbox} WHERE saga = ANY(%(orders)s::uuid[])"


class Publish(OrderAction):
    """Makes every outbox row of a saga due again. A step that is done ignores the message."""

    name = "publish"
    nothing_to_do = "The messages of these sagas have been purged."

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the messages that are still in an outbox."""
        return queries.messages_impact(SENT)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many messages are sent again."""
        sent = Tile("Messages sent again", impact.messages, "a step that is done ignores them")
        return changed_orders(impact), sent, unchanged_money()

    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Make the outbox rows due, and wake the relays of their services."""
        sent = 0
        for service in services_of(order):
            sent += outbox.republish(service, sagas=[order.pk])
            wakeup.request_flush(service.name)

        if sent:
            return ActionResult.done(f"{sent} message{'s' if sent > 1 else ''} sent again.")
        return ActionResult.nothing("Its messages have been purged, because it ended long ago.")
