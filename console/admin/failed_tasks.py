"""Failed tasks in the admin, with the sagas that they were about."""

from typing import Any
from uuid import UUID

from celery import current_app
from django.contrib import admin, messages
from django.db.models import F, JSONField, Model, Q, QuerySet
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django_celery_results.models import TaskResult
from unfold.decorators import display

from console.failures.tracebacks import (
    count_of,
    errors_of,
    orders_of,
    step_of,
    tasks_about,
    with_task_id,
)
from console.saga_pages import find_kinds, saga_link
from console.visible_kinds import VisibleKinds, visible_kinds
from sagas.admin.changelist import NewestFilter, among_newest
from sagas.admin.formatting import age, without_private_text
from sagas.admin.messages import KINDS, preformatted
from sagas.contrib.unfold import ReadOnlyAdmin
from sagas.kinds import SagaKind

__all__ = ["TaskResultAdmin", "register_failed_tasks"]

# Sagas that the page of a task links to, and tasks that a search by saga finds.
LINKS = 20
MOST_FOUND = 1_000


class TaskNameFilter(admin.SimpleListFilter):
    """Failures of one task. The choices are the registered tasks, so no failure is read."""

    title = "task"
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the tasks of this project."""
        return [
            (name, name) for name in sorted(current_app.tasks) if not name.startswith("celery.")
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[TaskResult]
    ) -> QuerySet[TaskResult]:
        """Keep the failures of the task."""
        return among_newest(queryset.filter(task_name=self.value())) if self.value() else queryset


class TaskResultAdmin(ReadOnlyAdmin):
    """Failed tasks, one row for each step and error, with the traceback of the last one.

    A row is kept for 30 days after the last failure.
    """

    list_display = ("task_name", "step", "state", "error", "failed_attempts", "done")
    list_filter = (("status", NewestFilter), TaskNameFilter)
    ordering = ("-date_done",)
    search_fields = ("task_id",)  # shows the search box; see get_search_results
    search_help_text = "Saga id, or task id."
    fields = (
        "task_name",
        "task_id",
        "step",
        "status",
        "failed_attempts",
        "date_created",
        "date_done",
        "worker",
        "orders",
        "result",
        "trace",
        "arguments",
    )
    readonly_fields = ("step", "failed_attempts", "orders", "trace", "arguments")

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskResult]:
        """Return the failures without a step, and those of steps of sagas that the user may view.

        The page of a failure without a step is refused by its sagas.
        """
        failures: QuerySet[TaskResult] = super().get_queryset(request)
        shown = visible_kinds(request.user).shown_steps
        if shown is None:
            return failures
        known = failures.alias(about=Cast(F("meta"), JSONField()))
        without_step = Q(about__isnull=True) | Q(about__step__isnull=True)
        return known.filter(without_step | Q(about__step__in=["", *shown]))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse the page of a failure that names a saga which the user may not view."""
        permitted: bool = super().has_view_permission(request, obj)
        if not permitted or not isinstance(obj, TaskResult):
            return permitted
        return _shows_failure(visible_kinds(request.user), obj)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and say which sagas it hides."""
        hidden = visible_kinds(request.user).hidden_in_words
        if hidden and request.method == "GET":
            self.message_user(request, hidden, messages.WARNING)
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[TaskResult], search_term: str
    ) -> tuple[QuerySet[TaskResult], bool]:
        """Search by saga or by task, because both ids are UUIDs."""
        term = search_term.strip()
        if not term:
            hides = visible_kinds(request.user).hidden
            return among_newest(queryset) if hides else queryset, False
        try:
            order = UUID(term)
        except ValueError:
            return queryset.filter(task_id=term), False
        about = [task.pk for task in tasks_about(order, errors_of(order), most=MOST_FOUND)]
        return queryset.filter(Q(task_id=term) | Q(pk__in=[*about, *with_task_id(term)])), False

    @display(
        description="state", label={"FAILURE": "danger", "RETRY": "warning", "REVOKED": "warning"}
    )
    def state(self, task: TaskResult) -> str:
        """Show the state."""
        return str(task.status)

    @admin.display(description="step")
    def step(self, task: TaskResult) -> str:
        """Show the step, if the task ran one."""
        return step_of(task) or "none"

    @admin.display(description="failed attempts")
    def failed_attempts(self, task: TaskResult) -> int:
        """Show how many attempts have failed like this."""
        return count_of(task)

    @admin.display(description="error")
    def error(self, task: TaskResult) -> str:
        """Show the beginning of the error."""
        return (task.result or "")[:100]

    @admin.display(description="last", ordering="date_done")
    def done(self, task: TaskResult) -> str:
        """Show the age of the last failure."""
        return age(task.date_done)

    @admin.display(description="newest sagas")
    def orders(self, task: TaskResult) -> SafeString:
        """Link to the newest sagas that failed like this. A saga that no home has gets no link."""
        newest = orders_of(task)[:LINKS]
        kinds = _kinds_of(task)
        links = [saga_link(saga, kinds.get(saga)) for saga in newest]
        return format_html_join(" ", "{}", ((link,) for link in links)) or SafeString("none named")

    @admin.display(description="last traceback")
    def trace(self, task: TaskResult) -> SafeString:
        """Show the traceback."""
        return preformatted(task.traceback or "none")

    @admin.display(description="last arguments")
    def arguments(self, task: TaskResult) -> SafeString:
        """Show the arguments of the task."""
        return preformatted(without_private_text(f"{task.task_args}\n{task.task_kwargs}"))


def _shows_failure(visible: VisibleKinds, task: TaskResult) -> bool:
    """Tell whether all sagas of a failure are shown; without any, whether its step is."""
    if not visible.hidden:
        return True
    sagas, step = orders_of(task), step_of(task)
    if not sagas:
        return not step or visible.shows(None, step)
    kinds = _kinds_of(task)
    return all(visible.shows(kinds.get(saga), step) for saga in sagas)


def _kinds_of(task: TaskResult) -> dict[UUID, SagaKind]:
    """Return the kinds of the sagas of a failure. Looked up once, because the page asks often."""
    kinds: dict[UUID, SagaKind] | None = getattr(task, KINDS, None)
    if kinds is None:
        kinds = find_kinds(orders_of(task))
        setattr(task, KINDS, kinds)
    return kinds


def register_failed_tasks() -> None:
    """Register the page in place of that of django-celery-results, which counts all rows."""
    if admin.site.is_registered(TaskResult):
        admin.site.unregister(TaskResult)
    admin.site.register(TaskResult, TaskResultAdmin)
