"""The admin of payments: payments, discrepancies, the simulated ledger, and the messages."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from payments.models import (
    Drift,
    Inbox,
    Outbox,
    Payment,
    Reconciliation,
    SimulatedCharge,
    WebhookEvent,
)
from sagas.admin.changelist import NewestFilter, ReadOnlyAdmin
from sagas.admin.messages import InboxAdmin, OutboxAdmin

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


DISCREPANCY_FIELDS = (
    "kind",
    "reference",
    "order_id",
    "ours",
    "theirs",
    "currency",
    "first_seen_at",
    "last_seen_at",
)


class _OrderSearchAdmin(ReadOnlyAdmin):
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


@admin.register(Payment)
class PaymentAdmin(_OrderSearchAdmin):
    """The payment of each order."""

    list_display: tuple[str, ...] = (
        "order_id",
        "status",
        "amount",
        "refunded_amount",
        "currency",
        "gateway",
        "charge_id",
        "created_at",
        "authorization_expires_at",
        "follow_at",
        "follow_error",
    )
    list_filter = ("status", ("follow_at", admin.EmptyFieldListFilter))
    uuid_fields = ("order_id", "id")
    ordering = ("-id",)


@admin.register(WebhookEvent)
class WebhookEventAdmin(_OrderSearchAdmin):
    """The webhook events, with their effect, including events of unknown orders."""

    list_display = ("type", "order_id", "object_id", "effect", "happened_at", "received_at")
    list_filter = ("effect",)
    search_help_text = "Order id, or the gateway's id of an intent, a charge or a refund."
    text_field = "object_id"
    ordering = ("-received_at",)


@admin.register(Drift)
class DriftAdmin(_OrderSearchAdmin):
    """The discrepancies between the gateway and payments.

    Staff with the permission close one with a reason. None is ever deleted.
    """

    list_display = (
        *DISCREPANCY_FIELDS,
        "closed_at",
        "closed_by",
        "closed_why",
    )
    list_filter = (("closed_at", admin.EmptyFieldListFilter), "kind")
    search_help_text = "Order id, or the gateway's id of a charge or a refund."
    text_field = "reference"
    ordering = ("-id",)
    readonly_fields = (
        *DISCREPANCY_FIELDS,
        "closed_at",
        "closed_by",
    )

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow the change, which closes it, until it is closed."""
        return self.has_operate_permission(request) and not (
            isinstance(obj, Drift) and obj.closed_at
        )

    def get_form(
        self, request: HttpRequest, obj: Drift | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form, which requires a reason."""
        form = super().get_form(request, obj, change, **kwargs)
        if "closed_why" in form.base_fields:
            form.base_fields["closed_why"].required = True
        return form

    def save_model(self, request: HttpRequest, obj: Drift, form: Any, change: bool) -> None:
        """Close the discrepancy, unless another person has just closed it."""
        closing = {
            "closed_at": Now(),
            "closed_by": request.user.get_username(),
            "closed_why": obj.closed_why,
        }
        if not Drift.objects.filter(id=obj.id, closed_at=None).update(**closing):
            self.message_user(
                request,
                f"Another person has just closed {obj.reference}. Your reason was not saved.",
                messages.WARNING,
            )


@admin.register(Reconciliation)
class ReconciliationAdmin(ReadOnlyAdmin):
    """The comparisons of the gateway's statement with our payments."""

    list_display = ("since", "until", "movements", "drifts", "finished_at")
    ordering = ("-id",)


@admin.register(SimulatedCharge)
class SimulatedChargeAdmin(_OrderSearchAdmin):
    """The simulated gateway's ledger of captures and refunds."""

    list_display = ("order_id", "kind", "amount", "currency", "charge_id", "key", "created_at")
    list_filter = (("kind", NewestFilter),)
    ordering = ("-id",)
