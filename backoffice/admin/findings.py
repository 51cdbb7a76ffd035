"""Violations that the scheduled audit has found, in the admin."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit.models import Finding
from console.saga_pages import find_kinds, saga_link
from console.visible_kinds import VisibleKinds, visible_kinds
from orders.models import Order
from sagas.admin.messages import KINDS
from sagas.contrib.unfold import ReadOnlyAdmin
from sagas.kinds import kind_of

__all__ = ["FindingAdmin"]

# The kind of a finding about a SKU.
OF_SKU = ""


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    """The open findings about the kinds of sagas that a user may view.

    Findings about SKUs are for the viewers of orders. The audit deletes a finding once its
    invariant holds again.
    """

    list_before_template = "backoffice/hidden_findings.html"
    list_display = ("invariant", "subject_link", "detail", "first_seen_at", "last_seen_at")
    list_display_links = ("invariant",)
    list_filter = ("invariant",)
    ordering = ("-id",)
    search_fields = ("subject__exact",)
    search_help_text = "Id of an order or another saga, or SKU."

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow the view to every user who may view a kind of saga."""
        return bool(visible_kinds(request.user).kinds)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Allow the page, as above."""
        return self.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Finding]:
        """Return the findings about the kinds that the user may view."""
        findings: QuerySet[Finding] = super().get_queryset(request)
        visible = visible_kinds(request.user)
        if not visible.hidden:
            return findings
        names = [kind.name for kind in visible.kinds]
        return findings.filter(kind__in=[*names, OF_SKU] if _views_orders(visible) else names)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and say which findings the user may not view."""
        visible = visible_kinds(request.user)
        shown = {"hidden": visible.hidden, "hides_skus": not _views_orders(visible)}
        response: HttpResponse = super().changelist_view(
            request, {**(extra_context or {}), **shown}
        )
        return response

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Look up the kinds of the sagas of a page at once, for its links."""
        page = super().get_changelist_instance(request)
        rows = list(page.result_list)
        kinds = find_kinds(saga for row in rows if (saga := _saga_of(row)))
        for row in rows:
            setattr(row, KINDS, kinds)
        page.result_list = rows
        return page

    @admin.display(description="subject")
    def subject_link(self, finding: Finding) -> SafeString:
        """Link to the saga, unless the subject is a SKU or no home has the saga."""
        saga = _saga_of(finding)
        if saga is None:
            return format_html("{}", finding.subject)
        kinds = getattr(finding, KINDS, None)
        if kinds is None:
            kinds = find_kinds([saga])
        return saga_link(saga, kinds.get(saga))


def _saga_of(finding: Finding) -> UUID | None:
    try:
        return UUID(finding.subject)
    except ValueError:
        return None


def _views_orders(visible: VisibleKinds) -> bool:
    return kind_of(Order) in visible.kinds
