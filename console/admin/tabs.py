"""The tabs above the list of orders: the ones that need attention, the open ones, and all."""

from typing import Any, NamedTuple

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from orders.models import Order
from sagas.admin.changelist import BoundedPaginator

__all__ = ["ShownFilter", "Tab", "tabs_of"]

ATTENTION = "needs_attention__exact"
SHOWN = "show"


class Tab(NamedTuple):
    """A tab. `number` is how many orders it holds, or None where they are not counted."""

    name: str
    title: str
    link: str
    active: bool
    number: int | None


class ShownFilter(admin.SimpleListFilter):
    """Open orders, or all."""

    title = "show"
    parameter_name = SHOWN

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("open", "open"), ("all", "all")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Keep the orders whose saga has not ended."""
        return queryset.filter(ended_at=None) if self.value() == "open" else queryset


def tabs_of(request: HttpRequest) -> list[Tab]:
    """Return the tabs, with numbers counted by index and only up to the paginator's limit."""
    wanted = request.GET
    attention = wanted.get(ATTENTION) == "1"
    open_ = wanted.get(SHOWN) == "open" and not attention
    orders = Order.objects.all()
    return [
        _tab(
            "attention",
            "Need attention",
            f"{ATTENTION}=1",
            attention,
            orders.filter(needs_attention=True),
        ),
        _tab("open", "Open", f"{SHOWN}=open", open_, orders.filter(ended_at=None)),
        _tab("all", "All", f"{SHOWN}=all", not attention and not open_, None),
    ]


def _tab(name: str, title: str, query: str, active: bool, orders: QuerySet[Order] | None) -> Tab:
    number = None if orders is None else orders[: BoundedPaginator.MAX_COUNT].count()
    return Tab(name, title, f"{reverse('admin:orders_order_changelist')}?{query}", active, number)
