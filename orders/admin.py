"""The admin of the catalogue and the messages. The console shows the orders."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from orders.catalogue import offers_price
from orders.models import Inbox, Outbox, Product
from orders.price_check import is_currency, reason_not_sellable
from sagas.admin.changelist import BoundedPaginator
from sagas.admin.messages import InboxAdmin, OutboxAdmin

__all__ = ["ProductAdmin"]

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


class ProductForm(forms.ModelForm):
    """A product whose price the payment gateway can charge."""

    def clean(self) -> dict[str, Any]:
        """Check a new price, and the price of a product that is offered again."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        changes = {name: cleaned.get(name) for name in self.changed_data}
        unit_amount, currency = cleaned.get("unit_amount"), cleaned.get("currency")
        if unit_amount and currency and offers_price(changes):
            self._check(unit_amount, currency)
        return cleaned

    def _check(self, unit_amount: int, currency: str) -> None:
        if not is_currency(currency):
            wrong = ValidationError("This is not a currency of ISO 4217.", code="unknown_currency")
            self.add_error("currency", wrong)
        elif reason := reason_not_sellable(unit_amount, currency):
            self.add_error("unit_amount", ValidationError(reason, code="not_chargeable"))


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """The catalogue. Staff withdraw a product by making it inactive."""

    form = ProductForm
    list_display = ("sku", "name", "unit_amount", "currency", "active")
    list_filter = ("active", "currency")
    search_fields = ("sku__startswith", "name__icontains")
    ordering = ("sku",)
    show_full_result_count = False
    paginator = BoundedPaginator

    def get_readonly_fields(
        self, request: HttpRequest, obj: Product | None = None
    ) -> tuple[str, ...]:
        """Keep the SKU of an existing product, because stock and orders refer to it."""
        return ("sku",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Forbid deletion."""
        return False
