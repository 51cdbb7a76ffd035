"""Orders in the admin: the pages of any saga, with the columns and the money of an order."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from backoffice.order_page.order_detail import OrderDetail, load_order_detail
from console.admin.sagas import SagaAdmin
from orders.models import Order
from sagas.currencies import with_currency

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


@admin.register(Order)
class OrderAdmin(SagaAdmin):
    """Orders. The page of one shows it in all its services."""

    change_form_template = "backoffice/order.html"
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
    ordering = ("-id",)
    search_fields = ("id",)
    address_names = {
        "act": "backoffice:act",
        "by_hand": "backoffice:by_hand",
        "export": "backoffice:export",
    }

    def load_detail(self, row: Any) -> OrderDetail:
        """Read an order from all its services."""
        return load_order_detail(row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        """Return the orders with their users."""
        orders: QuerySet[Order] = super().get_queryset(request)
        return orders.select_related("user")

    @display(description="status", label=STATUS_COLOURS)
    def state(self, order: Order) -> str:
        """Show the status."""
        return order.status

    @admin.display(description="amount")
    def price(self, order: Order) -> str:
        """Show the amount in its currency."""
        return with_currency(order.amount, order.currency)

    @admin.display(description="placed (UTC)", ordering="id")
    def placed(self, order: Order) -> str:
        """Show the time of placing."""
        return f"{order.created_at:%Y-%m-%d %H:%M:%S}"
