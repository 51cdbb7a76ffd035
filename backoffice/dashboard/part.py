"""The part of the shop on the start page: open orders, their money, and their charts."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django.urls import reverse

from audit import scheduled
from audit.metrics import unsettled_money
from backoffice.dashboard.money import MoneyTile, audit_tile, money_tiles, payment_figures
from backoffice.dashboard.order_charts import durations_chart, endings_chart
from backoffice.dashboard.throughput import throughput
from console.dashboard.charts import Chart
from console.dashboard.parts import DashboardPart, Viewer
from orders.metrics import count_open_by_status, estimate_by_status
from orders.models import Order
from orders.status import Status
from sagas.kinds import SagaKind, kind_of
from sagas.operations import table_stats
from sagas.storage.registry import get_home

__all__ = ["Charts", "OrderFigures", "ShopPart"]


@dataclass(frozen=True, kw_only=True)
class OrderFigures:
    """Open orders by status, numbers of their problems, and an estimate of all orders.

    `oldest_seconds` is 0 if every open order is on hold or waits as agreed.
    """

    open: dict[str, int]
    attention: int
    stalled: int
    redriven: int
    oldest_seconds: float
    on_hold: int
    estimated: int

    @property
    def total(self) -> int:
        """Return how many orders are open."""
        return sum(self.open.values())


@dataclass(frozen=True, kw_only=True)
class Charts:
    """The two charts over time."""

    endings: Chart
    durations: Chart


class ShopPart(DashboardPart):
    """Orders and money. Money needs the permission to view payments."""

    template: ClassVar = "backoffice/figures.html"
    tiles_template: ClassVar = "backoffice/tiles.html"

    def covers(self) -> Collection[SagaKind]:
        """Return orders."""
        return [kind_of(Order)]

    def probes(
        self, user: Viewer, visible: Collection[SagaKind]
    ) -> Mapping[str, Callable[[], Any]]:
        """Read orders, and money, for users who may view them."""
        named: dict[str, Callable[[], Any]] = {}
        if kind_of(Order) in visible:
            named |= {"orders": _orders, "charts": _charts, "audit": scheduled.last_result}
        if user is None or _may_view_money(user):
            named |= {"money": unsettled_money, "payments": payment_figures}
        return named

    def context(
        self, user: Viewer, visible: Collection[SagaKind], answers: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the figures, and the tiles of the money."""
        return {
            "orders": answers.get("orders"),
            "charts": answers.get("charts"),
            "may_view_money": user is None or _may_view_money(user),
            "money": _tiles(answers),
            "order_list": reverse("admin:orders_order_changelist"),
        }

    def attention(self, answers: Mapping[str, Any]) -> int | None:
        """Return how many orders need attention; 0 for a user who may not view orders."""
        if "orders" not in answers:
            return 0
        orders: OrderFigures | None = answers["orders"]
        return None if orders is None else orders.attention


def _may_view_money(user: Any) -> bool:
    return bool(user.has_perm("payments.view_payment"))


def _tiles(answers: Mapping[str, Any]) -> list[MoneyTile]:
    """Return the tiles of payments, and for viewers of orders the tile of the audit."""
    tiles = money_tiles(answers["money"], answers["payments"]) if "money" in answers else []
    return [*tiles, audit_tile(answers["audit"])] if "audit" in answers else tiles


def _orders() -> OrderFigures:
    sagas = table_stats.kind_stats(get_home("orders"))[kind_of(Order).table]
    by_status = count_open_by_status()
    shown = [status for status in Status if status is not Status.CANCELLED]
    return OrderFigures(
        open={status.value: by_status.get(status.value, 0) for status in shown},
        attention=sagas.needing_attention,
        stalled=sagas.stalled,
        redriven=sagas.redriven,
        oldest_seconds=sagas.oldest_seconds,
        on_hold=sagas.on_hold,
        estimated=sum(estimate_by_status().values()),
    )


def _charts() -> Charts:
    found = throughput()
    return Charts(endings=endings_chart(found), durations=durations_chart(found))
