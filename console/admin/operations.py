"""Runs and the log of operators, in the admin."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from unfold.decorators import display

from console.bulk_actions.allowance import allowances, exceeded_allowances
from console.bulk_actions.nouns import in_nouns, name_sagas
from console.bulk_actions.registry import UnknownAction, get_action, is_permitted
from console.bulk_actions.runs import DECIDE, preview
from console.models import Run
from console.views.runs import may_view_run, progress_of
from sagas.admin.changelist import NewestFilter
from sagas.admin.formatting import age
from sagas.contrib.unfold import ReadOnlyAdmin
from sagas.definition.messages import to_json
from staff.models import LogEntry
from staff.policy import decide

__all__ = ["LogEntryAdmin", "RunAdmin"]

# Entries in one export.
MOST_EXPORTED = 100_000

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
        "destination",
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

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse the page of a run over sagas that the user may not view."""
        permitted: bool = super().has_view_permission(request, obj)
        return permitted and (not isinstance(obj, Run) or may_view_run(request, obj))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the preview or the progress of a run."""
        run = self.get_object(request, object_id)
        is_shown = isinstance(run, Run) and self.has_view_permission(request, run)
        context = self._context(request, run) if is_shown else {}
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )
        return response

    def _context(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        if run.state not in {Run.State.DRAFT, Run.State.AWAITING}:
            return progress_of(run)

        try:
            action = get_action(run.action)
        except UnknownAction:  # of a newer release that runs beside this one
            return progress_of(run)

        user = request.user
        is_author = run.requested_by_id == user.pk
        impact = preview(run)
        is_draft = run.state == Run.State.DRAFT
        may_confirm = is_draft and is_author and is_permitted(user, run.action)
        may_decide = not is_draft and not is_author and decide(user, DECIDE, run).allowed
        shown = progress_of(run)
        return {
            **shown,
            "action": action,
            "nothing_to_do": in_nouns(action.nothing_to_do, shown["nouns"]),
            "impact": impact,
            "tiles": [name_sagas(tile, shown["nouns"]) for tile in action.tiles(impact)],
            "may_confirm": may_confirm,
            "may_decide": may_decide,
            "required_reference": action.required_reference(run.step),
            "allowances": allowances(run.requested_by, impact) if is_draft else [],
            "exceeded": exceeded_allowances(run),
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
    """The log of staff, which cannot be changed. Auditors read all of it, and export it."""

    list_display = (
        "number",
        "when",
        "who",
        "what",
        "action",
        "via",
        "address",
        "subject",
        "step",
        "order_id",
        "about",
        "why",
        "approver",
        "outcome",
    )
    list_filter = (("what", NewestFilter), ("action", NewestFilter), ("via", NewestFilter))
    ordering = ("-id",)  # every filter has an index that ends with it
    search_fields = ("order_id",)  # shows the search box; see get_search_results
    search_help_text = "Saga id, run id, user name, or subject such as a SKU or “user 7”."
    exclude = ("hash",)
    readonly_fields = ("number", "hash_in_hex")
    actions = ("export",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LogEntry], search_term: str
    ) -> tuple[QuerySet[LogEntry], bool]:
        """Search by saga or run if the term is an id, else by user name or subject."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(Q(order_id=UUID(term)) | Q(run=UUID(term))), False
        except ValueError:
            by_person = queryset.filter(who=term)
            # Not both at once, because the planner would read and sort all entries of a person.
            has_entries = by_person.order_by("-id").values_list("id", flat=True)[:1]
            return by_person if list(has_entries) else queryset.filter(subject=term), False

    @admin.action(description="Export as JSON lines", permissions=("view",))
    def export(self, request: HttpRequest, queryset: QuerySet[LogEntry]) -> HttpResponseBase:
        """Download the selected entries, oldest first, one JSON object a line."""
        entries = queryset.order_by("seq")[:MOST_EXPORTED].iterator(chunk_size=1_000)
        return StreamingHttpResponse(
            (log_line(entry) for entry in entries),
            content_type="application/jsonl",
            headers={"Content-Disposition": 'attachment; filename="log.jsonl"'},
        )

    @admin.display(description="number")
    def number(self, entry: LogEntry) -> int:
        """Show the number of the entry in the chain."""
        return entry.seq

    @admin.display(description="hash")
    def hash_in_hex(self, entry: LogEntry) -> str:
        """Show the hash."""
        return bytes(entry.hash).hex()

    @admin.display(description="when (UTC)", ordering="id")
    def when(self, entry: LogEntry) -> str:
        """Show the time of the entry."""
        return f"{entry.at:%Y-%m-%d %H:%M:%S}"


def log_line(entry: LogEntry) -> bytes:
    """Return an entry as a line of JSON. The hash is in hexadecimal."""
    columns = {field.name: field.value_from_object(entry) for field in entry._meta.fields}
    columns["hash"] = bytes(entry.hash).hex()
    return to_json(columns).encode() + b"\n"
