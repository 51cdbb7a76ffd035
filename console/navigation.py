"""The console's menu, limited to the pages that the user may open."""

from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.urls import reverse

from console.partial_reader import PartialReader
from orders.metrics import count_needing_attention

__all__ = ["navigation"]

Item = dict[str, Any]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups of the menu, with the items that this user may open."""
    groups: list[dict[str, Any]] = [
        {
            "title": "",
            "items": [_start(), _attention(request), _orders(request), _failures(), _holds()],
        },
        {
            "title": "Money",
            "items": [
                _model("payments", "payment", "Payments", "payments"),
                _model("payments", "dispute", "Disputes", "gavel"),
                _discrepancies(),
                _model("payments", "reconciliation", "Reconciliations", "balance"),
                _findings(),
                _model("payments", "webhookevent", "Webhook events", "webhook"),
                _model("payments", "simulatedcharge", "Simulated ledger", "receipt_long"),
            ],
        },
        {
            "title": "Services",
            "items": [
                _model("inventory", "stockitem", "Stock", "inventory_2"),
                _model("inventory", "reservation", "Reservations", "pan_tool"),
                _model("inventory", "stockadjustment", "Stock adjustments", "tune"),
                _model("orders", "product", "Products", "sell"),
            ],
        },
        {
            "title": "Operations",
            "items": [
                _model("console", "run", "Runs", "play_circle"),
                _model("console", "logentry", "Log", "history"),
            ],
        },
        {
            "title": "Messages",
            "items": [*_messages("orders"), *_messages("payments"), *_messages("inventory")],
        },
        {
            "title": "System",
            "items": [
                _model("django_celery_results", "taskresult", "Failed tasks", "bug_report"),
                _model("auth", "user", "Users", "person"),
                _model("auth", "group", "Groups", "group"),
            ],
        },
    ]
    return [
        {**group, "items": [item for item in group["items"] if _may(request, item)]}
        for group in groups
    ]


def _start() -> Item:
    return {"title": "Start", "icon": "monitoring", "link": reverse("admin:index")}


def _attention(request: HttpRequest) -> Item:
    """Link to the orders that need attention, with their number."""
    item = _model("orders", "order", "Needs attention", "warning")
    item["link"] += "?needs_attention__exact=1"
    item["active"] = "needs_attention__exact" in request.GET
    if _may(request, item) and (number := _number_needing_attention()):
        item |= {"badge": number, "badge_variant": "danger", "badge_style": "solid"}
    return item


def _orders(request: HttpRequest) -> Item:
    item = _model("orders", "order", "Orders", "shopping_cart")
    item["active"] = (
        request.path.startswith(item["link"]) and "needs_attention__exact" not in request.GET
    )
    return item | {"link": f"{item['link']}?show=all"}


def _failures() -> Item:
    item = _model("orders", "order", "Failures", "error")
    return item | {"link": reverse("console:failures")}


def _holds() -> Item:
    item = _model("orders", "order", "On hold", "pause_circle")
    return item | {"link": reverse("console:holds")}


def _discrepancies() -> Item:
    """Link to the differences that no person has closed."""
    item = _model("payments", "drift", "Differences", "difference")
    return item | {"link": f"{item['link']}?closed_at__isempty=1"}


def _findings() -> Item:
    """Link to the violations that the audit has found, for every user who may view orders."""
    item = _model("audit", "finding", "Audit findings", "rule")
    return item | {"permissions": ("orders.view_order",)}


def _number_needing_attention() -> str:
    """Return the number; empty for none, and a question mark if it could not be read."""
    reader = PartialReader()
    number = sum(reader.read("orders", lambda: [count_needing_attention()]))
    if reader.unreachable:
        return "?"
    return str(number) if number else ""


def _messages(service: str) -> list[Item]:
    return [
        _model(service, "outbox", f"{service.title()} outbox", "outbox"),
        _model(service, "inbox", f"{service.title()} inbox", "inbox"),
    ]


def _model(app: str, model: str, title: str, icon: str) -> Item:
    link = reverse(f"admin:{app}_{model}_changelist")
    return {
        "title": title,
        "icon": icon,
        "link": link,
        "permissions": (f"{app}.view_{model}", f"{app}.change_{model}"),
    }


def _may(request: HttpRequest, item: Item) -> bool:
    user: User | AnonymousUser = request.user
    return any(map(user.has_perm, item.get("permissions", ()))) if "permissions" in item else True
