"""What operators have had done: runs, and the log that only grows."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from console.bulk_actions.actions.mark_done import asks_for
from console.bulk_actions.reach import radius_now
from console.models import LogEntry, Run
from console.permissions import NEEDED, may
from console.views.runs import progress_of
from sagas.admin.changelist import NewestFilter, ReadOnlyAdmin
from sagas.admin.formatting import age

__all__ = ["LogEntryAdmin", "RunAdmin"]

RUN = {
    "draft": "info",
    "awaiting approval": "warning",
    "running": "info",
    "ended": "success",
    "declined": "primary",
}


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """What operators have had done to orders; the page of one previews it, or shows how far it
    is.
    """

    change_form_template = "console/run.html"
    list_display = ("action", "step", "stands", "requested_by", "decided_by", "reason", "made")
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
        """Preview a run that has not started, or show what has come of it."""
        run = self.get_object(request, object_id)
        gathered = self._gathered(request, run) if isinstance(run, Run) else {}
        shown: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **gathered}
        )
        return shown

    def _gathered(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        mine = run.requested_by_id == request.user.pk
        waits = run.state in {Run.State.DRAFT, Run.State.AWAITING}
        return {
            **progress_of(run),
            "radius": radius_now(run) if waits else None,
            "may_confirm": run.state == Run.State.DRAFT and mine and may(request.user, run.action),
            "for_all": run.action in NEEDED,
            "asks_for": asks_for(run.step),
            "may_decide": run.state == Run.State.AWAITING
            and not mine
            and request.user.has_perm("console.approve_run"),
        }

    @display(description="state", label=RUN)
    def stands(self, run: Run) -> str:
        """Show the state."""
        return run.get_state_display()

    @admin.display(description="made", ordering="id")
    def made(self, run: Run) -> str:
        """Say how long ago it was made."""
        return age(run.created_at)


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    """Who did what, why, when, and what came of it: only ever added to."""

    list_display = ("when", "who", "what", "action", "step", "order_id", "about", "why", "outcome")
    list_filter = (("what", NewestFilter), ("action", NewestFilter))
    ordering = ("-id",)
    search_fields = ("order_id",)  # shows the box; the search itself is below
    search_help_text = "Order id, run id, or the name of who did it."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LogEntry], search_term: str
    ) -> tuple[QuerySet[LogEntry], bool]:
        """Find by order or run where the term is an id, else by name."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(Q(order_id=UUID(term)) | Q(run=UUID(term))), False
        except ValueError:
            return queryset.filter(who=term), False

    @admin.display(description="when (UTC)", ordering="id")
    def when(self, entry: LogEntry) -> str:
        """Show when it was written."""
        return f"{entry.at:%Y-%m-%d %H:%M:%S}"
