"""The console's menu, limited to the pages that the user may open.

A project with pages of its own composes its menu from these functions, and names its own function
in `UNFOLD["SIDEBAR"]["navigation"]`.
"""

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.urls import reverse

from console.approvals import count_to_decide
from console.bulk_actions.runs import DECIDE
from console.dashboard.saga_figures import SagaFigures, other_kinds, read_figures
from console.models import Run
from console.order_page.saga_detail import table_model
from console.own_service import own_service
from console.partial_reader import PartialReader
from console.visible_kinds import visible_kinds
from sagas.kinds import SagaKind
from sagas.models import Inbox, Outbox
from sagas.storage.registry import service_names
from staff.policy import decide, may_view

__all__ = [
    "Group",
    "Item",
    "kind_items",
    "may_open",
    "messages",
    "model_item",
    "navigation",
    "of_any_kind",
    "operations",
    "permitted",
    "saga_items",
    "start",
    "system",
    "with_badge",
]

Item = dict[str, Any]
Group = dict[str, Any]


def navigation(request: HttpRequest) -> list[Group]:
    """Return the groups of the menu, with the items that this user may open."""
    groups = [
        {
            "title": "",
            "items": [
                start(),
                *_attention(request),
                *kind_items(request),
                *saga_items(request),
                *of_any_kind(request),
            ],
        },
        operations(request),
        messages(),
        system(),
    ]
    return permitted(request, groups)


def permitted(request: HttpRequest, groups: Iterable[Group]) -> list[Group]:
    """Return the groups with the items that this user may open."""
    return [
        {**group, "items": [item for item in group["items"] if may_open(request, item)]}
        for group in groups
    ]


def may_open(request: HttpRequest, item: Item) -> bool:
    """Tell whether a user may open an item, by its permissions. One of them suffices."""
    user: User | AnonymousUser = request.user
    return any(map(user.has_perm, item.get("permissions", ()))) if "permissions" in item else True


def start() -> Item:
    """Link to the start page."""
    return {"title": "Start", "icon": "monitoring", "link": reverse("admin:index")}


def kind_items(request: HttpRequest) -> list[Item]:
    """Link to the sagas of each kind that no part of the project shows, with their numbers.

    The number is that of the sagas which need attention.
    """
    items = [_kind(kind) for kind in other_kinds() if may_view(request.user, kind)]
    if not items:
        return []
    figures = read_figures()
    return [with_badge(item, figures.needing_attention(item["name"])) for item in items]


def saga_items(request: HttpRequest) -> list[Item]:
    """Link to the list of the sagas of all kinds, where there are several."""
    if len(visible_kinds(request.user).kinds) < 2:
        return []
    return [{"title": "All sagas", "icon": "account_tree", "link": reverse("console:sagas")}]


def of_any_kind(request: HttpRequest) -> list[Item]:
    """Link to the failures and the holds, for every user who may view a kind of saga."""
    if not visible_kinds(request.user).kinds:
        return []
    return [
        {"title": "Failures", "icon": "error", "link": reverse("console:failures")},
        {"title": "On hold", "icon": "pause_circle", "link": reverse("console:holds")},
    ]


def operations(request: HttpRequest) -> Group:
    """Return the group of the runs and the log."""
    return {
        "title": "Operations",
        "items": [
            *_approvals(request),
            model_item("console", "run", "Runs", "play_circle"),
            model_item("staff", "logentry", "Log", "history"),
        ],
    }


def messages(services: Iterable[str] | None = None) -> Group:
    """Return the group of the outboxes and inboxes of some services, by default of all."""
    names = service_names() if services is None else services
    return {"title": "Messages", "items": [item for name in names for item in _messages(name)]}


def system() -> Group:
    """Return the group of failed tasks and, where the admin has them, users and groups."""
    pages = (
        ("django_celery_results", "taskresult", "Failed tasks", "bug_report"),
        ("auth", "user", "Users", "person"),
        ("auth", "group", "Groups", "group"),
    )
    shown = [page for page in pages if admin.site.is_registered(apps.get_model(*page[:2]))]
    return {"title": "System", "items": [model_item(*page) for page in shown]}


def model_item(app: str, model: str, title: str, icon: str) -> Item:
    """Link to the admin's list of a model, for users who may view or change it."""
    link = reverse(f"admin:{app}_{model}_changelist")
    return {
        "title": title,
        "icon": icon,
        "link": link,
        "permissions": (f"{app}.view_{model}", f"{app}.change_{model}"),
    }


def with_badge(item: Item, number: str) -> Item:
    """Return an item with a number that a person must look at; without one if it is empty."""
    if not number:
        return item
    return item | {"badge": number, "badge_variant": "danger", "badge_style": "solid"}


def _attention(request: HttpRequest) -> list[Item]:
    """Link to the sagas of all kinds that need attention, with their number."""
    visible = visible_kinds(request.user)
    if not visible.kinds:
        return []
    link = f"{reverse('console:sagas')}?show=attention"
    item = {"title": "Needs attention", "icon": "warning", "link": link}
    return [with_badge(item, _number_needing_attention(read_figures(), visible.kinds))]


def _number_needing_attention(figures: SagaFigures, kinds: Iterable[SagaKind]) -> str:
    """Return the number; empty for none, and a question mark if a home did not answer."""
    shown = {kind.name for kind in kinds}
    if figures.unreachable:
        return "?"
    found = (each for each in figures.kinds if each.kind.name in shown)
    return str(sum(each.stats.needing_attention for each in found) or "")


def _approvals(request: HttpRequest) -> list[Item]:
    """Link to the runs that wait for a second person, with the number this user may decide on."""
    if not decide(request.user, DECIDE).allowed:
        return []
    item = model_item("console", "run", "Awaiting approval", "how_to_reg")
    item["link"] += f"?state__exact={Run.State.AWAITING}"
    reader = PartialReader()
    waiting = sum(reader.read(own_service(), lambda: [count_to_decide(request.user)]))
    return [with_badge(item, "?" if reader.unreachable else str(waiting or ""))]


def _kind(kind: SagaKind) -> Item:
    item = model_item(
        kind.home, str(kind.model._meta.model_name), kind.plural.capitalize(), "conversion_path"
    )
    return item | {"name": kind.name, "link": f"{item['link']}?show=all"}


def _messages(service: str) -> list[Item]:
    models = {"outbox": table_model(service, Outbox), "inbox": table_model(service, Inbox)}
    return [
        model_item(service, str(model._meta.model_name), f"{service.title()} {name}", name)
        for name, model in models.items()
        if admin.site.is_registered(model)
    ]
