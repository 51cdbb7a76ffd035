"""The admin of the catalogue and the messages. The console shows the orders."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from orders.models import Inbox, Outbox, Product
from sagas.admin.changelist import BoundedPaginator
from sagas.admin.messages import InboxAdmin, OutboxAdmin

__all__ = ["ProductAdmin"]

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """The catalogue. Staff withdraw a product by making it inactive."""

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
