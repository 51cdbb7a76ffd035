"""Differences from the gateway's statement, in the admin. Approvers close them."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest
from unfold.decorators import display

from backoffice.discrepancies import close_discrepancy, may_close_discrepancies
from payments.admin import OrderSearchAdmin
from payments.models import Drift
from sagas.currencies import with_currency
from staff.writes import Rejected

__all__ = ["DriftAdmin"]

FIELDS = (
    "kind",
    "reference",
    "order_id",
    "here",
    "at_the_gateway",
    "first_seen_at",
    "last_seen_at",
)
CLOSING = ("closed_at", "closed_by")


@admin.register(Drift)
class DriftAdmin(OrderSearchAdmin):
    """The discrepancies between the gateway and payments.

    An approver closes one with a reason, which the log keeps. None is ever deleted.
    """

    list_display = ("state", *FIELDS, *CLOSING, "closed_why")
    list_display_links = ("kind", "reference")
    list_filter = (("closed_at", admin.EmptyFieldListFilter), "kind")
    search_help_text = "Order id, or the gateway's id of a charge, a refund or a dispute."
    text_field = "reference"
    ordering = ("-id",)
    fields = (*FIELDS, *CLOSING, "closed_why")
    readonly_fields = (*FIELDS, *CLOSING)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow the change, which closes it, until it is closed."""
        is_closed = isinstance(obj, Drift) and obj.closed_at is not None
        return may_close_discrepancies(request.user) and not is_closed

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
        try:
            close_discrepancy(obj.id, by=request.user, reason=obj.closed_why)
        except Rejected as rejected:
            self.message_user(request, str(rejected), messages.WARNING)

    @display(description="state", label={"open": "danger", "closed": "success"})
    def state(self, discrepancy: Drift) -> str:
        """Show whether a person has closed it."""
        return "closed" if discrepancy.closed_at else "open"

    @admin.display(description="here")
    def here(self, discrepancy: Drift) -> str:
        """Show the amount in our payments."""
        return with_currency(discrepancy.ours, discrepancy.currency)

    @admin.display(description="at the gateway")
    def at_the_gateway(self, discrepancy: Drift) -> str:
        """Show the amount in the gateway's statement."""
        return with_currency(discrepancy.theirs, discrepancy.currency)
