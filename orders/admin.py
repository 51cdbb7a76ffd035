"""The admin of orders: what was ordered, what happened to it, and calling it off. Nothing else changes an order."""

from typing import ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline

from orders import selectors, services
from orders.models import Inbox, Order, OrderLine, Outbox, Product
from sagas.admin import BoundedPaginator, InboxAdmin, OutboxAdmin, ReadOnlyAdmin

__all__ = ["OrderAdmin", "ProductAdmin"]

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


class LineInline(TabularInline):
    """The lines of an order."""

    model = OrderLine
    fields = ("sku", "quantity", "unit_amount")
    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Who may see the order may see its lines: the page of the order has checked that."""
        return True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody edits."""
        return False


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders, with their timeline, their messages and their payment."""

    list_display = ("id", "user", "status", "amount", "currency", "failure_code", "needs_attention", "created_at")
    list_filter = ("status", "needs_attention")
    list_select_related = ("user",)
    ordering = ("-id",)
    search_fields = ("id",)  # shows the box; the search itself is below
    search_help_text = "Order id, or the name of its user."
    inlines = (LineInline,)
    actions = ("cancel",)
    fieldsets: ClassVar = (
        (None, {"fields": ("id", "user", "status", "amount", "currency", "payment_method", "payment")}),
        ("Failure", {"fields": ("failure_code", "failure_detail")}),
        ("Saga", {"fields": ("timeline", "sent", "needs_attention", "redrives", "rescue_at", "plan")}),
        ("Times", {"fields": ("created_at", "updated_at", "ended_at")}),
    )
    readonly_fields = ("payment", "timeline", "sent")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Find by id where the term is one, else by the user's name: both use an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(id=UUID(term)), False
        except ValueError:
            return queryset.filter(user__username=term), False

    @admin.display(description="payment")
    def payment(self, order: Order) -> SafeString:
        """Link to the order's payment, which lies in another database."""
        return _link("payments_payment", order, "Show the payment")

    @admin.display(description="messages")
    def sent(self, order: Order) -> SafeString:
        """Link to what orders sent and received for this order."""
        links = ((_link("orders_outbox", order, "outbox"),), (_link("orders_inbox", order, "inbox"),))
        return format_html_join(" · ", "{}", links)

    @admin.display(description="timeline")
    def timeline(self, order: Order) -> SafeString:
        """Draw what happened to the order, oldest first."""
        head = "<th>at (UTC)</th><th>event</th><th>service</th><th>attempt</th><th>detail</th>"
        cells = "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"
        rows = (
            (f"{event.at:%Y-%m-%d %H:%M:%S.%f}", event.type, event.service, event.attempt, event.detail)
            for event in selectors.timeline_of(order.id)
        )
        body = format_html_join("", cells, rows)
        return format_html(f"<table><thead><tr>{head}</tr></thead><tbody>{{}}</tbody></table>", body)

    @admin.action(description="Cancel", permissions=("operate",))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Call the orders off that are not fulfilled, as their customers could."""
        late = [order.id for order in queryset.prefetch_related("lines") if not _cancelled(order)]
        if late:
            self.message_user(request, f"Fulfilled, so not cancelled: {', '.join(map(str, late))}.", messages.WARNING)
        self.message_user(request, f"{len(queryset) - len(late)} cancelled, or being cancelled.", messages.SUCCESS)


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """The catalogue. A product is taken out of it by making it inactive."""

    list_display = ("sku", "name", "unit_amount", "currency", "active")
    list_filter = ("active", "currency")
    search_fields = ("sku__startswith", "name__icontains")
    ordering = ("sku",)
    show_full_result_count = False
    paginator = BoundedPaginator

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        """Keep the SKU of a product as it was made: stock and orders refer to it."""
        return ("sku",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes."""
        return False


def _link(page: str, order: Order, text: str) -> SafeString:
    return format_html('<a href="{}?q={}">{}</a>', reverse(f"admin:{page}_changelist"), order.id, text)


def _cancelled(order: Order) -> bool:
    try:
        services.cancel_order(order)
    except services.OrderFulfilledError:
        return False
    return True
