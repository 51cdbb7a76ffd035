"""Failed tasks, users and groups in the admin. Tokens and group results have no page."""

from typing import Any
from uuid import UUID

import knox.models
from celery import current_app
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django_celery_results.models import GroupResult, TaskResult
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from console.failures.tracebacks import orders_of, tasks_about
from sagas.admin.changelist import BoundedPaginator, NewestFilter, ReadOnlyAdmin, among_newest
from sagas.admin.formatting import age
from sagas.admin.messages import preformatted

__all__ = ["GroupAdmin", "TaskResultAdmin", "UserAdmin"]

# The API and `create_token` issue tokens, and no task of this project has group results.
admin.site.unregister([User, Group, TaskResult, GroupResult, knox.models.get_token_model()])

# Orders that the page of a task links to, and tasks that a search by order finds.
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


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnlyAdmin):
    """Failed tasks with their traceback and their orders. Celery keeps them for 30 days."""

    list_display = ("task_name", "state", "error", "worker", "done")
    list_filter = (("status", NewestFilter), TaskNameFilter)
    ordering = ("-id",)
    search_fields = ("task_id",)  # shows the search box; see get_search_results
    search_help_text = "Order id, or task id."
    fields = (
        "task_name",
        "task_id",
        "status",
        "worker",
        "date_done",
        "orders",
        "result",
        "trace",
        "arguments",
    )
    readonly_fields = ("orders", "trace", "arguments")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[TaskResult], search_term: str
    ) -> tuple[QuerySet[TaskResult], bool]:
        """Search by order or by task, because both ids are UUIDs."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            about = [task.pk for task in tasks_about(UUID(term), most=MOST_FOUND)]
        except ValueError:
            return queryset.filter(task_id=term), False
        return queryset.filter(Q(task_id=term) | Q(pk__in=about)), False

    @display(
        description="state", label={"FAILURE": "danger", "RETRY": "warning", "REVOKED": "warning"}
    )
    def state(self, task: TaskResult) -> str:
        """Show the state."""
        return str(task.status)

    @admin.display(description="error")
    def error(self, task: TaskResult) -> str:
        """Show the beginning of the error."""
        return (task.result or "")[:100]

    @admin.display(description="when", ordering="id")
    def done(self, task: TaskResult) -> str:
        """Show the age of the failure."""
        return age(task.date_done)

    @admin.display(description="orders")
    def orders(self, task: TaskResult) -> SafeString:
        """Link to the orders of the task."""
        links = (
            (reverse("admin:orders_order_change", args=[order]), order)
            for order in orders_of(task)[:LINKS]
        )
        return format_html_join(" ", '<a class="underline" href="{}">{}</a>', links) or SafeString(
            "none named"
        )

    @admin.display(description="traceback")
    def trace(self, task: TaskResult) -> SafeString:
        """Show the traceback."""
        return preformatted(task.traceback or "none")

    @admin.display(description="arguments")
    def arguments(self, task: TaskResult) -> SafeString:
        """Show the arguments of the task."""
        return preformatted(f"{task.task_args}\n{task.task_kwargs}")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """Users."""

    form = UserChangeForm
    add_form = UserCreationForm
    show_full_result_count = False
    paginator = BoundedPaginator
    list_filter = ("is_staff", "is_superuser", "groups")
    search_fields = ("username__startswith",)
    search_help_text = "The beginning of a user name."
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups."""
