"""Orders in the admin: searched by id or user, and acted on in bulk."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.decorators import display

from console.admin import tabs
from console.admin.filters import FailureFilter, HoldFilter, OrderOlderThan, StatusFilter
from console.bulk_actions.action import ACT_ON_ORDERS, OrderAction
from console.bulk_actions.actions.mark_done import steps_to_mark_done
from console.bulk_actions.registry import bulk_actions, is_permitted, order_page_actions
from console.bulk_actions.runs import MOST_ORDERS
from console.holds import hold_of
from console.models import LogEntry
from console.order_page.order_detail import load_order_detail
from console.views.runs import draft_run
from orders.models import Order
from payments.gateways.currencies import with_currency
from sagas.admin.changelist import ReadOnlyAdmin
from sagas.admin.formatting import age
from sagas.models import Inbox

__all__ = ["OrderAdmin"]

# The theme's colour for each status of an order.
STATUS_COLOURS = {
    "pending": "info",
    "paid": "info",
    "reserved": "info",
    "fulfilled": "success",
    "cancelling": "warning",
    "cancelled": "primary",
}

# Log entries that the page of an order shows.
HISTORY = 50


def _list_action(action: OrderAction) -> Callable[..., HttpResponse | None]:
    """Return an operator action as an action of the list of orders."""

    @admin.action(description=action.label, permissions=("operate",))
    def draft(
        model_admin: "OrderAdmin", request: HttpRequest, queryset: QuerySet[Order]
    ) -> HttpResponse | None:
        selected = queryset.order_by("id").values_list("id", flat=True)
        return draft_run(request, action.name, list(selected[: MOST_ORDERS + 1]))

    draft.__name__ = action.name
    return draft


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders. The page of one shows it in all its services."""

    change_form_template = "console/order.html"
    list_display = (
        "id",
        "user",
        "state",
        "price",
        "failure_code",
        "attention",
        "placed",
        "open_since",
    )
    list_filter = (
        tabs.ShownFilter,
        StatusFilter,
        "needs_attention",
        OrderOlderThan,
        HoldFilter,
        FailureFilter,
    )
    ordering = ("-id",)
    search_fields = ("id",)  # shows the search box; see get_search_results
    search_help_text = "Order id, or the customer's user name."
    actions = tuple(map(_list_action, bulk_actions()))
    list_before_template = "console/tabs.html"

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Tell whether this user may act on orders."""
        return request.user.has_perm(ACT_ON_ORDERS)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """Return the actions that this user has the permission for.

        Django passes `action_location` from release 6.1 on.
        """
        location = {"action_location": action_location} if action_location else {}
        offered: dict[str, Any] = super().get_actions(request, **location)
        return {name: found for name, found in offered.items() if is_permitted(request.user, name)}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Search by id if the term is one, else by user name. Both use an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(id=UUID(term)), False
        except ValueError:
            # A join on the user would make the planner walk through all orders.
            user = User.objects.filter(username=term).values_list("pk", flat=True).first()
            return queryset.filter(user=user) if user else queryset.none(), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Open the list on the orders that need attention, if there are any."""
        found = tabs.tabs_of(request)
        attention = found[0]
        if request.method == "GET" and not request.GET and attention.number:
            return redirect(attention.link)

        response: HttpResponse = super().changelist_view(
            request, {**(extra_context or {}), "tabs": found}
        )
        return response

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Order | None:
        """Return an order with its user, read once per request."""
        found: dict[str, Order | None] = request.__dict__.setdefault("_orders_read", {})
        if object_id not in found:
            found[object_id] = super().get_object(request, object_id, from_field)
        return found[object_id]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        """Return the orders with their users."""
        orders: QuerySet[Order] = super().get_queryset(request)
        return orders.select_related("user")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the order in all its services."""
        order = self.get_object(request, object_id)
        context = self._context(request, order) if isinstance(order, Order) else {}
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )
        return response

    def _context(self, request: HttpRequest, order: Order) -> dict[str, Any]:
        detail = load_order_detail(order)

        # The home knows of every hold; a service with a held step knows of its own.
        with_held_step = {
            message.service for message in detail.received if message.row.state == Inbox.State.HELD
        }
        held = hold_of(order, sorted(with_held_step | {detail.plan.home}))

        may_act = self.has_operate_permission(request)
        actions = order_page_actions(
            order, on_hold=held is not None, is_followed_up=detail.is_followed_up
        )
        return {
            "detail": detail,
            "held": held,
            "actions": actions if may_act else [],
            "markable": list(steps_to_mark_done(detail)) if may_act else [],
            "history": LogEntry.objects.filter(order_id=order.pk).order_by("-id")[:HISTORY],
        }

    @display(description="status", label=STATUS_COLOURS)
    def state(self, order: Order) -> str:
        """Show the status."""
        return order.status

    @admin.display(description="amount")
    def price(self, order: Order) -> str:
        """Show the amount in its currency."""
        return with_currency(order.amount, order.currency)

    @display(description="attention", label={"needs attention": "danger"}, empty_value="")
    def attention(self, order: Order) -> str | None:
        """Mark an order that needs attention."""
        return "needs attention" if order.needs_attention else None

    @admin.display(description="placed (UTC)", ordering="id")
    def placed(self, order: Order) -> str:
        """Show the time of placing."""
        return f"{order.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="open since", empty_value="")
    def open_since(self, order: Order) -> str | None:
        """Show the age of an open saga."""
        return None if order.ended_at else age(order.created_at)
