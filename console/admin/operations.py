"""Runs and the log of operators, in the admin."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from console.bulk_actions.registry import get_action
from console.bulk_actions.runs import preview
from console.models import LogEntry, Run
from console.views.runs import progress_of
from sagas.admin.changelist import NewestFilter, ReadOnlyAdmin
from sagas.admin.formatting import age

__all__ = ["LogEntryAdmin", "RunAdmin"]

# The theme's colour for each state of a run.
STATE_COLOURS = {
    "draft": "info",
    "awaiting approval": "warning",
    "running": "info",
    "ended": "success",
    "declined": "primary",
}


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs. The page of one shows its preview before it starts, and then its progress."""

    change_form_template = "console/run.html"
    list_display = (
        "action",
        "step",
        "state_label",
        "requested_by",
        "decided_by",
        "reason",
        "created",
    )
    list_filter = ("state", "action")
    list_select_related = ("requested_by", "decided_by")
    ordering = ("-id",)
    search_fields = ("reason__icontains", "requested_by__username")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the preview or the progress of a run."""
        run = self.get_object(request, object_id)
        context = self._context(request, run) if isinstance(run, Run) else {}
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )
        return response

    def _context(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        if run.state not in {Run.State.DRAFT, Run.State.AWAITING}:
            return progress_of(run)

        user, action = request.user, get_action(run.action)
        is_author = run.requested_by_id == user.pk
        impact = preview(run)
        may_confirm = (
            run.state == Run.State.DRAFT and is_author and user.has_perm(action.permission)
        )
        may_decide = (
            run.state == Run.State.AWAITING
            and not is_author
            and user.has_perm("console.approve_run")
        )
        return {
            **progress_of(run),
            "action": action,
            "impact": impact,
            "tiles": action.tiles(impact),
            "may_confirm": may_confirm,
            "may_decide": may_decide,
            "required_reference": action.required_reference(run.step),
        }

    @display(description="state", label=STATE_COLOURS)
    def state_label(self, run: Run) -> str:
        """Show the state."""
        return run.get_state_display()

    @admin.display(description="created", ordering="id")
    def created(self, run: Run) -> str:
        """Show the age of the run."""
        return age(run.created_at)


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    """The log of operators, which cannot be changed."""

    list_display = ("when", "who", "what", "action", "step", "order_id", "about", "why", "outcome")
    list_filter = (("what", NewestFilter), ("action", NewestFilter))
    ordering = ("-id",)
    search_fields = ("order_id",)  # shows the search box; see get_search_results
    search_help_text = "Order id, run id, or the operator's user name."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LogEntry], search_term: str
    ) -> tuple[QuerySet[LogEntry], bool]:
        """Search by order or run if the term is an id, else by user name."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(Q(order_id=UUID(term)) | Q(run=UUID(term))), False
        except ValueError:
            return queryset.filter(who=term), False

    @admin.display(description="when (UTC)", ordering="id")
    def when(self, entry: LogEntry) -> str:
        """Show the time of the entry."""
        return f"{entry.at:%Y-%m-%d %H:%M:%S}"
