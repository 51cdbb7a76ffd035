"""The admin of payments: each order's payment, the simulated gateway's books, and the messages."""

from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from payments.models import Inbox, Outbox, Payment, SimulatedCharge, WebhookEvent
from sagas.admin import InboxAdmin, OutboxAdmin, ReadOnlyAdmin

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


class _FoundByOrder(ReadOnlyAdmin):
    search_fields = ("order_id",)  # shows the box; the search itself is below
    search_help_text = "Order id, payment id or charge id."
    ids: tuple[str, ...] = ("order_id",)
    word = "charge_id"

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find by one of the ids where the term is a UUID, else by the gateway's id of the charge."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            return queryset.filter(**{self.word: term}), False
        return queryset.filter(Q.create([(name, wanted) for name in self.ids], connector=Q.OR)), False


@admin.register(Payment)
class PaymentAdmin(_FoundByOrder):
    """What we know of each order's payment."""

    list_display = (
        *("order_id", "status", "amount", "refunded_amount", "currency", "charge_id", "created_at"),
        *("follow_at", "follow_error"),
    )
    list_filter = ("status", ("follow_at", admin.EmptyFieldListFilter))
    ids = ("order_id", "id")
    ordering = ("-id",)


@admin.register(WebhookEvent)
class WebhookEventAdmin(_FoundByOrder):
    """What the gateway told us by itself, and what that made us do; also of orders that we do not know."""

    list_display = ("type", "order_id", "object_id", "effect", "happened_at", "received_at")
    list_filter = ("effect", "type")
    search_help_text = "Order id, or the gateway's id of an intent, a charge or a refund."
    word = "object_id"
    ordering = ("-received_at",)


@admin.register(SimulatedCharge)
class SimulatedChargeAdmin(_FoundByOrder):
    """The simulated gateway's ledger: every capture and refund there was."""

    list_display = ("order_id", "kind", "amount", "currency", "charge_id", "key", "created_at")
    list_filter = ("kind",)
    ordering = ("-id",)
