"""The admin of inventory: stock, reservations, returned pieces, adjustments and messages."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.validators import RegexValidator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from api.requests.converters import SkuConverter
from inventory.models import Inbox, Outbox, Reservation, StockAdjustment, StockItem, StockReturn
from inventory.services import MAX_ADJUSTMENT, StockTooLow, adjust_stock_as_staff
from sagas.admin.changelist import NewestFilter, among_newest
from sagas.contrib.unfold import InboxAdmin, OutboxAdmin, ReadOnlyAdmin
from staff.policy_admin import PolicyAdmin

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


@admin.register(StockItem)
class StockItemAdmin(ReadOnlyAdmin):
    """The stock of each SKU. Only steps and adjustments change the counters."""

    list_display = ("sku", "on_hand", "reserved", "shipped", "returned")
    search_fields = ("sku__startswith",)
    ordering = ("sku",)


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    """The units that are reserved for each order."""

    list_display = ("order_id", "item_id", "quantity", "state", "created_at", "updated_at")
    list_filter = (("state", NewestFilter),)
    search_fields = ("order_id",)  # shows the box; the search itself is below
    search_help_text = "Order id or SKU."
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Reservation], search_term: str
    ) -> tuple[QuerySet[Reservation], bool]:
        """Search by order id; otherwise by SKU, among the held and the newest reservations."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(order_id=UUID(term)), False
        except ValueError:
            by_sku = queryset.filter(item__sku=term)
            return among_newest(by_sku, Q(state=Reservation.State.HELD)), False


@admin.register(StockReturn)
class StockReturnAdmin(ReadOnlyAdmin):
    """The pieces that came back with each return. The written-off ones have an adjustment, too."""

    list_display = ("return_id", "order_id", "item_id", "restocked", "written_off", "at")
    search_fields = ("order_id", "return_id")  # shows the box; the search itself is below
    search_help_text = "Return id or order id."
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StockReturn], search_term: str
    ) -> tuple[QuerySet[StockReturn], bool]:
        """Search by the id of a return or of an order."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            return queryset.none(), False
        return queryset.filter(Q(return_id=wanted) | Q(order_id=wanted)), False


class AdjustmentForm(forms.ModelForm):
    """The form of an adjustment. The SKU may be new."""

    sku = forms.CharField(validators=[RegexValidator(rf"^{SkuConverter.regex}\Z")])
    quantity = forms.IntegerField(
        min_value=-MAX_ADJUSTMENT,
        max_value=MAX_ADJUSTMENT,
        help_text="Negative to take units out.",
    )

    class Meta:
        model = StockAdjustment
        fields = ("quantity", "reason")

    def clean_quantity(self) -> int:
        """Reject an adjustment of 0 units."""
        quantity: int = self.cleaned_data["quantity"]
        if not quantity:
            raise forms.ValidationError("The quantity must not be 0.")
        return quantity


@admin.register(StockAdjustment)
class StockAdjustmentAdmin(PolicyAdmin, ReadOnlyAdmin):
    """All adjustments. Staff add new ones here; existing ones never change."""

    add_action = "adjust_stock"
    form = AdjustmentForm
    fields = ("sku", "quantity", "reason")
    list_display = ("item_id", "quantity", "reason", "by", "at")
    search_fields = ("item__sku__startswith",)
    ordering = ("-id",)

    def get_fields(
        self, request: HttpRequest, obj: StockAdjustment | None = None
    ) -> tuple[str, ...]:
        """Return the input fields of a new adjustment, or all fields of an existing one."""
        return (
            ("sku", "quantity", "reason")
            if obj is None
            else ("item", "quantity", "reason", "by", "at")
        )

    def save_model(
        self, request: HttpRequest, obj: StockAdjustment, form: forms.ModelForm, change: bool
    ) -> None:
        """Adjust the stock, and show the row that this wrote."""
        made = adjust_stock_as_staff(
            request.user,
            via="admin",
            sku=form.cleaned_data["sku"],
            quantity=obj.quantity,
            reason=obj.reason,
        )
        obj.__dict__ |= made.__dict__

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form again with a message if the stock is too low."""
        try:
            response: HttpResponse = super().add_view(request, form_url, extra_context)
        except StockTooLow as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response
