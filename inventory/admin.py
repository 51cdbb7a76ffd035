"""The admin of inventory: stock, what orders hold of it, its adjustments, and the messages."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.validators import RegexValidator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from api.requests.converters import SkuConverter
from inventory.models import Inbox, Outbox, Reservation, StockAdjustment, StockItem
from inventory.services import MAX_ADJUSTMENT, StockTooLow, adjust_stock
from sagas.admin.changelist import NewestFilter, ReadOnlyAdmin, among_newest
from sagas.admin.messages import InboxAdmin, OutboxAdmin

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


@admin.register(StockItem)
class StockItemAdmin(ReadOnlyAdmin):
    """What there is of each SKU. The counters move by steps and adjustments only."""

    list_display = ("sku", "on_hand", "reserved", "shipped")
    search_fields = ("sku__startswith",)
    ordering = ("sku",)


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    """What each order holds."""

    list_display = ("order_id", "item_id", "quantity", "state", "created_at", "updated_at")
    list_filter = (("state", NewestFilter),)
    search_fields = ("order_id",)  # shows the box; the search itself is below
    search_help_text = "Order id or SKU."
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Reservation], search_term: str
    ) -> tuple[QuerySet[Reservation], bool]:
        """Find by order where the term is an id; else by SKU, of what is held or new."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(order_id=UUID(term)), False
        except ValueError:
            of_sku = queryset.filter(item__sku=term)
            return among_newest(of_sku, Q(state=Reservation.State.HELD)), False


class AdjustmentForm(forms.ModelForm):
    """An adjustment of any SKU, also of one that has no stock yet."""

    sku = forms.CharField(validators=[RegexValidator(rf"^{SkuConverter.regex}\Z")])
    quantity = forms.IntegerField(
        min_value=-MAX_ADJUSTMENT,
        max_value=MAX_ADJUSTMENT,
        help_text="Negative to take pieces out.",
    )

    class Meta:
        model = StockAdjustment
        fields = ("quantity", "reason")

    def clean_quantity(self) -> int:
        """Refuse an adjustment of nothing."""
        quantity: int = self.cleaned_data["quantity"]
        if not quantity:
            raise forms.ValidationError("An adjustment adds pieces or takes some out.")
        return quantity


@admin.register(StockAdjustment)
class StockAdjustmentAdmin(ReadOnlyAdmin):
    """Every adjustment ever made. New ones are made here; none is changed or taken back."""

    form = AdjustmentForm
    fields = ("sku", "quantity", "reason")
    list_display = ("item_id", "quantity", "reason", "by", "at")
    search_fields = ("item__sku__startswith",)
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Who may add adjustments may."""
        return admin.ModelAdmin.has_add_permission(self, request)

    def get_fields(
        self, request: HttpRequest, obj: StockAdjustment | None = None
    ) -> tuple[str, ...]:
        """Ask for a SKU on the way in; show all there is to an adjustment after."""
        return (
            ("sku", "quantity", "reason")
            if obj is None
            else ("item", "quantity", "reason", "by", "at")
        )

    def save_model(
        self, request: HttpRequest, obj: StockAdjustment, form: forms.ModelForm, change: bool
    ) -> None:
        """Adjust the stock; the row it writes is the one to show."""
        made = adjust_stock(
            sku=form.cleaned_data["sku"],
            quantity=obj.quantity,
            reason=obj.reason,
            by=request.user.get_username(),
        )
        obj.__dict__ |= made.__dict__

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Say why, and ask again, where that much cannot be taken out."""
        try:
            response: HttpResponse = super().add_view(request, form_url, extra_context)
        except StockTooLow as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response
