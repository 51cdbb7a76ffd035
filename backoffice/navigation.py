"""The menu of the shop: orders, money and the pages of the services, around the console's own."""

from django.http import HttpRequest
from django.urls import reverse

from console import navigation as console
from console.navigation import Group, Item, may_open, model_item, with_badge
from console.partial_reader import PartialReader
from console.visible_kinds import visible_kinds
from orders.metrics import count_needing_attention
from services import SERVICES

__all__ = ["navigation"]


def navigation(request: HttpRequest) -> list[Group]:
    """Return the groups of the menu, with the items that this user may open."""
    groups = [
        {
            "title": "",
            "items": [
                console.start(),
                _attention(request),
                _orders(request),
                *console.kind_items(request),
                *console.saga_items(request),
                *console.of_any_kind(request),
            ],
        },
        {
            "title": "Money",
            "items": [
                model_item("payments", "payment", "Payments", "payments"),
                model_item("payments", "partialrefund", "Partial refunds", "currency_exchange"),
                model_item("payments", "dispute", "Disputes", "gavel"),
                _discrepancies(),
                model_item("payments", "reconciliation", "Reconciliations", "balance"),
                *_findings(request),
                model_item("payments", "webhookevent", "Webhook events", "webhook"),
                model_item("payments", "simulatedcharge", "Simulated ledger", "receipt_long"),
            ],
        },
        {
            "title": "Services",
            "items": [
                model_item(service.name, page.model, page.title, page.icon)
                for service in reversed(SERVICES)
                for page in service.pages
            ],
        },
        console.operations(request),
        console.messages(service.name for service in SERVICES),
        console.system(),
    ]
    return console.permitted(request, groups)


def _attention(request: HttpRequest) -> Item:
    """Link to the orders that need attention, with their number."""
    item = model_item("orders", "order", "Needs attention", "warning")
    item["link"] += "?needs_attention__exact=1"
    item["active"] = "needs_attention__exact" in request.GET
    return with_badge(item, _number_needing_attention()) if may_open(request, item) else item


def _orders(request: HttpRequest) -> Item:
    item = model_item("orders", "order", "Orders", "shopping_cart")
    item["active"] = (
        request.path.startswith(item["link"]) and "needs_attention__exact" not in request.GET
    )
    return item | {"link": f"{item['link']}?show=all"}


def _discrepancies() -> Item:
    """Link to the differences that no person has closed."""
    item = model_item("payments", "drift", "Differences", "difference")
    return item | {"link": f"{item['link']}?closed_at__isempty=1"}


def _findings(request: HttpRequest) -> list[Item]:
    """Link to the violations that the audit has found, for viewers of any kind of saga."""
    if not visible_kinds(request.user).kinds:
        return []
    link = reverse("admin:audit_finding_changelist")
    return [{"title": "Audit findings", "icon": "rule", "link": link}]


def _number_needing_attention() -> str:
    """Return the number; empty for none, and a question mark if it could not be read."""
    reader = PartialReader()
    number = sum(reader.read("orders", lambda: [count_needing_attention()]))
    if reader.unreachable:
        return "?"
    return str(number) if number else ""
