"""Orders and their payments: found as people search, coloured by what a state means, and acted
on in bulk.
"""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.decorators import display

import payments.admin
from console.admin import tabs
from console.admin.filters import FailureFilter, HoldFilter, OrderOlderThan, StatusFilter
from console.bulk_actions.actions.mark_done import markable
from console.bulk_actions.runs import MOST_ORDERS
from console.holds import hold_of
from console.models import ON_ORDERS, Action, LogEntry
from console.order_page.order_detail import dossier_of
from console.templatetags.console import money
from console.views.runs import drafted
from orders.models import Order
from orders.status import Status
from payments.models import Payment
from sagas.admin.changelist import ReadOnlyAdmin
from sagas.admin.formatting import age
from sagas.models import Inbox

__all__ = ["OrderAdmin", "PaymentAdmin"]

admin.site.unregister(Payment)

# The theme's colours by what a state means to an operator.
STATUS = {
    "pending": "info",
    "paid": "info",
    "reserved": "info",
    "fulfilled": "success",
    "cancelling": "warning",
    "cancelled": "primary",
}
PAYMENT = {
    "pending": "warning",
    "authorized": "warning",
    "captured": "success",
    "declined": "primary",
    "refunded": "primary",
    "void": "primary",
}

# Entries of the log that an order's page shows.
HISTORY = 50


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders; the page of one shows it in all its services."""

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
    search_fields = ("id",)  # shows the box; the search itself is below
    search_help_text = "Order id, or the name of its user."
    actions = ("try_again", "publish_again", "cancel", "hold", "release")
    list_before_template = "console/tabs.html"

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may act on orders."""
        return request.user.has_perm("console.add_run")

    @admin.action(description="Try again now", permissions=("operate",))
    def try_again(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Make a draft that tries every open step of these orders again."""
        return self._draft(request, queryset, Action.RETRY)

    @admin.action(description="Publish again", permissions=("operate",))
    def publish_again(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Make a draft that sends every message of these orders again."""
        return self._draft(request, queryset, Action.PUBLISH)

    @admin.action(description="Cancel and undo", permissions=("operate",))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Make a draft that calls these orders off."""
        return self._draft(request, queryset, Action.CANCEL)

    @admin.action(description="Put on hold", permissions=("operate",))
    def hold(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Make a draft that holds these orders before their next steps."""
        return self._draft(request, queryset, Action.HOLD)

    @admin.action(description="Release", permissions=("operate",))
    def release(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Make a draft that lets these orders go on."""
        return self._draft(request, queryset, Action.RELEASE)

    def _draft(
        self, request: HttpRequest, queryset: QuerySet[Order], action: Action
    ) -> HttpResponse | None:
        orders = list(queryset.order_by("id").values_list("id", flat=True)[: MOST_ORDERS + 1])
        return drafted(request, action, orders)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Find by id where the term is one, else by the user's name: both use an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(id=UUID(term)), False
        except (
            ValueError
        ):  # whose id is looked up first, or the planner would walk through all orders for it
            user = User.objects.filter(username=term).values_list("pk", flat=True).first()
            return queryset.filter(user=user) if user else queryset.none(), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what needs attention first: where something does, the list opens on that."""
        found = tabs.tabs_of(request)
        if request.method == "GET" and not request.GET and found[0].number:
            return redirect(found[0].link)
        shown: HttpResponse = super().changelist_view(
            request, {**(extra_context or {}), "tabs": found}
        )
        return shown

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Order | None:
        """Return an order with its user; a second time the same, for the page is made of both."""
        found: dict[str, Order | None] = request.__dict__.setdefault("_orders_read", {})
        if object_id not in found:
            found[object_id] = super().get_object(request, object_id, from_field)
        return found[object_id]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        """Return the orders, each with its user."""
        orders: QuerySet[Order] = super().get_queryset(request)
        return orders.select_related("user")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the order's dossier."""
        order = self.get_object(request, object_id)
        gathered = self._gathered(request, order) if isinstance(order, Order) else {}
        shown: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **gathered}
        )
        return shown

    def _gathered(self, request: HttpRequest, order: Order) -> dict[str, Any]:
        dossier = dossier_of(order)
        holding = {
            posted.service for posted in dossier.received if posted.row.state == Inbox.State.HELD
        }
        held = hold_of(
            order, sorted(holding | {dossier.plan.home})
        )  # all of them, or what they hold tells
        may_act = self.has_operate_permission(request)
        return {
            "dossier": dossier,
            "held": held,
            "actions": _offered(order, on_hold=held is not None) if may_act else [],
            "markable": list(markable(dossier)) if may_act else [],
            "history": LogEntry.objects.filter(order_id=order.pk).order_by("-id")[:HISTORY],
        }

    @display(description="status", label=STATUS)
    def state(self, order: Order) -> str:
        """Show the status."""
        return order.status

    @admin.display(description="amount")
    def price(self, order: Order) -> str:
        """Show the amount in its currency."""
        return money(order.amount, order.currency)

    @display(description="attention", label={"needs attention": "danger"}, empty_value="")
    def attention(self, order: Order) -> str | None:
        """Say that a person must look at it, and nothing otherwise."""
        return "needs attention" if order.needs_attention else None

    @admin.display(description="placed (UTC)", ordering="id")
    def placed(self, order: Order) -> str:
        """Show when it was placed."""
        return f"{order.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="open since", empty_value="")
    def open_since(self, order: Order) -> str | None:
        """Say for how long its saga has been open."""
        return None if order.ended_at else age(order.created_at)


def _offered(order: Order, *, on_hold: bool) -> list[tuple[str, str]]:
    """Return what may be done to an order: nothing once it has ended, and no way back where
    there is none.
    """
    if order.ended_at:
        return []
    idle = {Action.HOLD if on_hold else Action.RELEASE}
    if order.status in {Status.FULFILLED, Status.CANCELLING, Status.CANCELLED}:
        idle.add(Action.CANCEL)
    return [(action.value, action.label) for action in ON_ORDERS if action not in idle]


@admin.register(Payment)
class PaymentAdmin(payments.admin.PaymentAdmin):
    """Payments, with amounts as people read them."""

    list_display = ("order_id", "state", "price", "refunded", "charge_id", "created_at")

    @display(description="status", label=PAYMENT)
    def state(self, payment: Payment) -> str:
        """Show the status."""
        return payment.status

    @admin.display(description="amount")
    def price(self, payment: Payment) -> str:
        """Show the amount in its currency."""
        return money(payment.amount, payment.currency)

    @admin.display(description="refunded", empty_value="")
    def refunded(self, payment: Payment) -> str | None:
        """Show what was given back, if anything was."""
        return money(payment.refunded_amount, payment.currency) if payment.refunded_amount else None
