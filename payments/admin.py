"""The admin of payments: each order's payment, the simulated gateway's books, and the messages."""

from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from payments.models import Inbox, Outbox, Payment, SimulatedCharge
from sagas.admin import InboxAdmin, OutboxAdmin, ReadOnlyAdmin

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


class _FoundByOrder(ReadOnlyAdmin):
    search_fields = ("order_id",)  # shows the box; the search itself is below
    search_help_text = "Order id, payment id or charge id."
    ids: tuple[str, ...] = ("order_id",)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find by one of the ids where the term is a UUID, else by the gateway's id of the charge."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            return queryset.filter(charge_id=term), False
        return queryset.filter(Q.create([(name, wanted) for name in self.ids], connector=Q.OR)), False


@admin.register(Payment)
class PaymentAdmin(_FoundByOrder):
    """What we know of each order's payment."""

    list_display: tuple[str, ...] = (
        "order_id",
        "status",
        "amount",
        "refunded_amount",
        "currency",
        "charge_id",
        "created_at",
    )
    list_filter = ("status",)
    ids = ("order_id", "id")
    ordering = ("-id",)


@admin.register(SimulatedCharge)
class SimulatedChargeAdmin(_FoundByOrder):
    """The simulated gateway's ledger: every capture and refund there was."""

    list_display = ("order_id", "kind", "amount", "currency", "charge_id", "key", "created_at")
    list_filter = ("kind",)
    ordering = ("-id",)
