"""Violations that the scheduled audit has found, in the admin."""

from uuid import UUID

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit.models import Finding
from sagas.admin.changelist import ReadOnlyAdmin

__all__ = ["FindingAdmin"]


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    """The open findings. The audit deletes a finding once its invariant holds again."""

    list_display = ("invariant", "subject_link", "detail", "first_seen_at", "last_seen_at")
    list_display_links = ("invariant",)
    list_filter = ("invariant",)
    ordering = ("-id",)
    search_fields = ("subject__exact",)
    search_help_text = "Order id, or SKU."

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow the view to every user who may view orders, because findings are about them."""
        return request.user.has_perm("orders.view_order")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Allow the page, as above."""
        return self.has_view_permission(request)

    @admin.display(description="subject")
    def subject_link(self, finding: Finding) -> SafeString:
        """Link to the order, unless the subject is a SKU."""
        try:
            page = reverse("admin:orders_order_change", args=[UUID(finding.subject)])
        except ValueError:
            return format_html("{}", finding.subject)
        return format_html('<a class="underline" href="{}">{}</a>', page, finding.subject)
