"""The admin of payments: each order's payment, the simulated gateway's books, and the messages."""

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


class _FoundByOrder(ReadOnlyAdmin):
    search_fields = ("order_id",)  # shows the box; the search itself is below
    search_help_text = "Order id, payment id or charge id."
    ids: tuple[str, ...] = ("order_id",)
    word = "charge_id"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        """Find by one of the ids where the term is a UUID, else by the gateway's id of the
        charge.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            return queryset.filter(**{self.word: term}), False
        return queryset.filter(
            Q.create([(name, wanted) for name in self.ids], connector=Q.OR)
        ), False


@admin.register(Payment)
class PaymentAdmin(_FoundByOrder):
    """What we know of each order's payment."""

    list_display: tuple[str, ...] = (
        *(
            "order_id",
            "status",
            "amount",
            "refunded_amount",
            "currency",
            "gateway",
            "charge_id",
            "created_at",
        ),
        *("authorization_expires_at", "follow_at", "follow_error"),
    )
    list_filter = ("status", ("follow_at", admin.EmptyFieldListFilter))
    ids = ("order_id", "id")
    ordering = ("-id",)


@admin.register(WebhookEvent)
class WebhookEventAdmin(_FoundByOrder):
    """What the gateway told us by itself, and what that made us do; also of orders that we do
    not know.
    """

    list_display = ("type", "order_id", "object_id", "effect", "happened_at", "received_at")
    list_filter = ("effect",)
    search_help_text = "Order id, or the gateway's id of an intent, a charge or a refund."
    word = "object_id"
    ordering = ("-received_at",)


@admin.register(Drift)
class DriftAdmin(_FoundByOrder):
    """Where the gateway and payments differ. A drift is closed by whoever may, with the reason;
    it is never deleted.
    """

    list_display = (
        *(
            "kind",
            "reference",
            "order_id",
            "ours",
            "theirs",
            "currency",
            "first_seen_at",
            "last_seen_at",
        ),
        *("closed_at", "closed_by", "closed_why"),
    )
    list_filter = (("closed_at", admin.EmptyFieldListFilter), "kind")
    search_help_text = "Order id, or the gateway's id of a charge or a refund."
    word = "reference"
    ordering = ("-id",)
    readonly_fields = (
        *(
            "kind",
            "reference",
            "order_id",
            "ours",
            "theirs",
            "currency",
            "first_seen_at",
            "last_seen_at",
        ),
        *("closed_at", "closed_by"),
    )

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Who may change a drift may close it, once."""
        return self.has_operate_permission(request) and not (
            isinstance(obj, Drift) and obj.closed_at
        )

    def get_form(
        self, request: HttpRequest, obj: Drift | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form: the reason, without which nothing is closed."""
        form = super().get_form(request, obj, change, **kwargs)
        if "closed_why" in form.base_fields:
            form.base_fields["closed_why"].required = True
        return form

    def save_model(self, request: HttpRequest, obj: Drift, form: Any, change: bool) -> None:
        """Close the drift, unless somebody else just has: who, when and why stay as they were
        first.
        """
        closing = {
            "closed_at": Now(),
            "closed_by": request.user.get_username(),
            "closed_why": obj.closed_why,
        }
        if not Drift.objects.filter(id=obj.id, closed_at=None).update(**closing):
            self.message_user(request, "Somebody has closed it before.", messages.WARNING)


@admin.register(Reconciliation)
class ReconciliationAdmin(ReadOnlyAdmin):
    """The comparisons there were."""

    list_display = ("since", "until", "movements", "drifts", "finished_at")
    ordering = ("-id",)


@admin.register(SimulatedCharge)
class SimulatedChargeAdmin(_FoundByOrder):
    """The simulated gateway's ledger: every capture and refund there was."""

    list_display = ("order_id", "kind", "amount", "currency", "charge_id", "key", "created_at")
    list_filter = (("kind", NewestFilter),)
    ordering = ("-id",)
