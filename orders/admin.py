"""The admin of the catalogue and the messages. The console shows the orders."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest

from orders.catalogue import (
    NO_REASON,
    PRICE,
    describe_changes,
    describe_product,
    offers_price,
)
from orders.free_products import NOT_ALLOWED, least_amount
from orders.models import Inbox, Outbox, Product
from orders.price_check import is_currency, reason_not_sellable
from sagas.admin.changelist import BoundedPaginator
from sagas.contrib.unfold import InboxAdmin, KnownRowsAdmin, OutboxAdmin
from staff.policy_admin import PolicyAdmin
from staff.writes import staff_write

__all__ = ["ProductAdmin"]

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


class ProductForm(forms.ModelForm):
    """A product whose price the payment gateway can charge."""

    reason = forms.CharField(
        max_length=500,
        required=False,
        help_text="Required for a new price. The log of staff keeps it.",
    )

    def clean(self) -> dict[str, Any]:
        """Check a new price and its reason, and the price of a product that is offered again."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        is_known = not self.instance._state.adding
        if is_known and set(PRICE) & set(self.changed_data) and not cleaned.get("reason"):
            self.add_error("reason", ValidationError(NO_REASON, code="required"))
        changes = {name: cleaned.get(name) for name in self.changed_data}
        unit_amount, currency = cleaned.get("unit_amount"), cleaned.get("currency")
        if unit_amount is not None and currency and offers_price(changes):
            self._check(unit_amount, currency)
        return cleaned

    def _check(self, unit_amount: int, currency: str) -> None:
        if is_currency(currency):
            reason = reason_not_sellable(unit_amount, currency)
        else:
            wrong = ValidationError("This is not a currency of ISO 4217.", code="unknown_currency")
            self.add_error("currency", wrong)
            reason = NOT_ALLOWED if unit_amount == 0 and least_amount() > 0 else ""
        if reason:
            self.add_error("unit_amount", ValidationError(reason, code="not_chargeable"))


@admin.register(Product)
class ProductAdmin(KnownRowsAdmin, PolicyAdmin):
    """The catalogue. Staff withdraw a product by making it inactive."""

    add_action = "add_product"
    change_action = "change_product"
    form = ProductForm
    list_display = ("sku", "name", "unit_amount", "currency", "active")
    list_filter = ("active", "currency")
    search_fields = ("sku__startswith", "name__icontains")
    ordering = ("sku",)
    show_full_result_count = False
    paginator = BoundedPaginator

    def get_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        """Ask for a reason where the user may change the product."""
        fields = ("sku", "name", "unit_amount", "currency", "active")
        may_write = self.has_change_permission(request) if obj else True
        return (*fields, "reason") if may_write else fields

    def get_readonly_fields(
        self, request: HttpRequest, obj: Product | None = None
    ) -> tuple[str, ...]:
        """Keep the SKU of an existing product, because stock and orders refer to it."""
        return ("sku",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Forbid deletion."""
        return False

    def save_model(
        self, request: HttpRequest, obj: Product, form: ProductForm, change: bool
    ) -> None:
        """Save the product, and log its fields, or the old and new values of a change."""
        action = self.change_action if change else self.add_action
        reason = form.cleaned_data["reason"]
        with staff_write(request.user, action, via="admin", subject=obj.sku, why=reason) as write:
            if change:
                before = Product.objects.select_for_update().get(pk=obj.pk)
                written = set(form.cleaned_data) - {"reason"}
                changes = {name: getattr(obj, name) for name in form.fields if name in written}
                write.outcome = describe_changes(before, changes)
            else:
                write.outcome = describe_product(obj)
            super().save_model(request, obj, form, change)
