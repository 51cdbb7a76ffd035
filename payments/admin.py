"""The admin of payments: payments, disputes, the simulated ledger, and the messages."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from payments.models import (
    Dispute,
    Inbox,
    Outbox,
    PartialRefund,
    Payment,
    Reconciliation,
    SimulatedCharge,
    WebhookEvent,
)
from payments.open_money import captured_in_words, orders_of_unknown_outcome
from payments.partial_refunds import orders_with_owed_money
from payments.summaries import known_owed, with_owed_parts
from sagas.admin.changelist import MAX_FOUND, NewestFilter
from sagas.contrib.unfold import InboxAdmin, OutboxAdmin, ReadOnlyAdmin
from sagas.currencies import with_currency

__all__ = ["DisputeAdmin", "OrderSearchAdmin", "PaymentAdmin"]

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


# The theme's colour for each status of a payment, and for the reason why a person may have to look.
STATUS_COLOURS = {
    "pending": "warning",
    "authorized": "warning",
    "captured": "success",
    "declined": "primary",
    "refunded": "primary",
    "void": "primary",
}
PART_COLOURS = {"pending": "warning", "succeeded": "success", "failed": "danger"}
OWED, DISPUTED, FOLLOWED = "owed to the customer", "disputed", "the gateway is asked again"
NOTE_COLOURS = {OWED: "danger", DISPUTED: "danger", FOLLOWED: "warning"}


class OrderSearchAdmin(ReadOnlyAdmin):
    """Rows that belong to an order, found by its id or by an id of the gateway."""

    search_fields = ("order_id",)  # shows the search box; get_search_results does the search
    search_help_text = "Order id, payment id or charge id."
    uuid_fields: tuple[str, ...] = ("order_id",)
    text_field = "charge_id"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        """Search `uuid_fields` for a UUID, and `text_field` for any other term."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            return queryset.filter(**{self.text_field: term}), False
        matches = Q.create([(name, wanted) for name in self.uuid_fields], connector=Q.OR)
        return queryset.filter(matches), False


class MoneyFilter(admin.SimpleListFilter):
    """Payments whose money a person may have to look at. Each choice uses an index."""

    title = "money"
    parameter_name = "money"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the three reasons."""
        return [
            ("owed", "owed to the customer"),
            ("disputed", "in an open dispute"),
            ("unknown", "outcome unknown"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        """Keep the payments of the chosen reason."""
        match self.value():
            case "owed":
                return queryset.filter(order_id__in=orders_with_owed_money())
            case "disputed":
                return queryset.filter(dispute_status="open")
            case "unknown":
                return queryset.filter(order_id__in=orders_of_unknown_outcome()[:MAX_FOUND])
        return queryset


@admin.register(Payment)
class PaymentAdmin(OrderSearchAdmin):
    """The payment of each order, with its money: captured, refunded, owed, disputed."""

    list_display = (
        "order_id",
        "state",
        "note",
        "price",
        "captured_money",
        "refunded",
        "owed",
        "paid_otherwise",
        "disputed",
        "gateway",
        "charge_id",
        "created_at",
        "action_expires_at",
        "expected_at",
        "authorization_expires_at",
        "follow_at",
        "follow_error",
    )
    list_filter = (MoneyFilter, "status", ("follow_at", admin.EmptyFieldListFilter))
    uuid_fields = ("order_id", "id")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        """Add the owed amounts of failed parts."""
        return with_owed_parts(super().get_queryset(request))

    @display(description="status", label=STATUS_COLOURS)
    def state(self, payment: Payment) -> str:
        """Show the status."""
        return payment.status

    @display(description="note", label=NOTE_COLOURS, empty_value="")
    def note(self, payment: Payment) -> str | None:
        """Show why the status is not the whole truth about the money."""
        if known_owed(payment):
            return OWED
        if payment.dispute_status == "open":
            return DISPUTED
        return FOLLOWED if payment.follow_at or payment.balance_due_at else None

    @admin.display(description="amount")
    def price(self, payment: Payment) -> str:
        """Show the order's amount in its currency."""
        return with_currency(payment.amount, payment.currency)

    @admin.display(description="captured")
    def captured_money(self, payment: Payment) -> str:
        """Show the captured amount; "unknown" if only the gateway knows it."""
        return captured_in_words(payment)

    @admin.display(description="refunded", empty_value="")
    def refunded(self, payment: Payment) -> str | None:
        """Show the refunded amount, if any."""
        return _shown(payment.refunded_amount, payment.currency)

    @admin.display(description="owed", empty_value="")
    def owed(self, payment: Payment) -> str | None:
        """Show the amount that is owed to the customer, if any."""
        return _shown(known_owed(payment) or 0, payment.currency)

    @admin.display(description="paid in another way", empty_value="")
    def paid_otherwise(self, payment: Payment) -> str | None:
        """Show the amount that a person has paid outside of the gateway, if any."""
        return _shown(payment.paid_otherwise_amount, payment.currency)

    @admin.display(description="disputed", empty_value="")
    def disputed(self, payment: Payment) -> str | None:
        """Show the state of the payment's disputes, and the amount that they have withdrawn."""
        if not payment.dispute_status:
            return None
        amount = with_currency(payment.disputed_amount, payment.currency)
        return f"{payment.dispute_status}, {amount} withdrawn"


def _shown(amount: int, currency: str) -> str | None:
    return with_currency(amount, currency) if amount else None


@admin.register(Dispute)
class DisputeAdmin(OrderSearchAdmin):
    """The disputes of payments. Evidence is sent in the gateway's dashboard."""

    list_display = (
        "id",
        "order_id",
        "state",
        "withdrawn",
        "reason",
        "opened_at",
        "respond_by",
        "charge_id",
    )
    list_filter = ("status",)
    search_help_text = "Order id, or the gateway's id of a charge."
    ordering = ("-opened_at",)

    @display(description="status", label={"open": "danger", "won": "success", "lost": "primary"})
    def state(self, dispute: Dispute) -> str:
        """Show the status."""
        return dispute.status

    @admin.display(description="amount")
    def withdrawn(self, dispute: Dispute) -> str:
        """Show the amount in its currency."""
        return with_currency(dispute.amount, dispute.currency)


@admin.register(PartialRefund)
class PartialRefundAdmin(OrderSearchAdmin):
    """The refunds of parts of payments, each for one saga, such as a return."""

    list_display = (
        "id",
        "order_id",
        "state",
        "asked",
        "back",
        "covered",
        "missing_money",
        "refund_id",
        "reference",
        "expected_at",
        "created_at",
        "updated_at",
    )
    list_filter = ("status",)
    search_help_text = "Order id, id of the saga, or the gateway's id of a refund."
    uuid_fields = ("order_id", "id")
    text_field = "refund_id"
    ordering = ("-created_at",)

    @display(description="status", label=PART_COLOURS)
    def state(self, refund: PartialRefund) -> str:
        """Show the status."""
        return refund.status

    @admin.display(description="asked for")
    def asked(self, refund: PartialRefund) -> str:
        """Show the amount that the saga asked for."""
        return with_currency(refund.asked_amount, refund.currency)

    @admin.display(description="given back", empty_value="")
    def back(self, refund: PartialRefund) -> str | None:
        """Show the amount that the gateway gave back for this saga, if any."""
        return _shown(refund.refunded_amount, refund.currency)

    @admin.display(description="covered", empty_value="")
    def covered(self, refund: PartialRefund) -> str | None:
        """Show the amount that the customer has in another way, if any."""
        return _shown(refund.asked_amount - refund.amount + refund.covered_amount, refund.currency)

    @admin.display(description="not back yet", empty_value="")
    def missing_money(self, refund: PartialRefund) -> str | None:
        """Show the amount that the customer does not have back, if any."""
        return _shown(refund.missing, refund.currency)


@admin.register(WebhookEvent)
class WebhookEventAdmin(OrderSearchAdmin):
    """The webhook events, with their effect, including events of unknown orders."""

    list_display = ("type", "order_id", "object_id", "effect", "happened_at", "received_at")
    list_filter = ("effect",)
    search_help_text = "Order id, or the gateway's id of an intent, a charge or a refund."
    text_field = "object_id"
    ordering = ("-received_at",)


@admin.register(Reconciliation)
class ReconciliationAdmin(ReadOnlyAdmin):
    """The comparisons of the gateway's statement with our payments."""

    list_display = (
        "gateway",
        "since",
        "until",
        "compared_until",
        "movements",
        "drifts",
        "error",
        "finished_at",
    )
    ordering = ("-id",)


@admin.register(SimulatedCharge)
class SimulatedChargeAdmin(OrderSearchAdmin):
    """The simulated gateway's ledger of captures and refunds."""

    list_display = ("order_id", "kind", "amount", "currency", "charge_id", "key", "created_at")
    list_filter = (("kind", NewestFilter),)
    ordering = ("-id",)
