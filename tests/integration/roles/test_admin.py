"""Every page and action of the admin for every role, as tables; and every view of the console."""

from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.db import models
from django.test import RequestFactory
from django.urls import reverse

from audit.models import Finding
from backoffice import urls as backoffice_urls
from console import urls as console_urls
from console.models import Run
from inventory.models import StockAdjustment, StockItem
from orders.models import Order, Product
from sagas.admin.changelist import KnownRowsAdmin
from sagas.ids import uuid7
from sagas.models import TrackedSaga
from services import NAMES
from staff.models import LogEntry
from tests.integration.orders import harness
from tests.integration.roles.roles import (
    MEMBERS_OF_STAFF,
    ROLES,
    admin_client,
    names,
    only,
    user_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.django_db(databases="__all__")]

VIEWERS = only("viewer", "operator", "approver", "auditor", "superuser")
STOCK = VIEWERS | only("catalogue")
CATALOGUE = only("catalogue", "superuser")
SUPERUSER = only("superuser")
NONE = only()

# The services of the project, and that of the tests. Groups view every registered service.
SERVICES = (*NAMES, "trips")


class Page(NamedTuple):
    """The roles that may view, add, change and delete the rows of one model."""

    view: frozenset[str]
    add: frozenset[str] = NONE
    change: frozenset[str] = NONE
    delete: frozenset[str] = NONE


PAGES = {
    "orders.order": Page(VIEWERS),
    "orders.product": Page(STOCK, add=CATALOGUE, change=CATALOGUE),
    "payments.payment": Page(VIEWERS),
    "payments.dispute": Page(VIEWERS),
    "payments.partialrefund": Page(VIEWERS),
    "payments.webhookevent": Page(VIEWERS),
    "payments.reconciliation": Page(VIEWERS),
    "payments.simulatedcharge": Page(VIEWERS),
    "payments.drift": Page(VIEWERS, change=only("approver", "superuser")),
    "inventory.stockitem": Page(STOCK),
    "inventory.stockadjustment": Page(STOCK, add=CATALOGUE),
    "inventory.reservation": Page(VIEWERS),
    "inventory.stockreturn": Page(VIEWERS),
    "returns.return": Page(VIEWERS),
    "audit.finding": Page(VIEWERS),
    "console.run": Page(VIEWERS),
    "staff.logentry": Page(VIEWERS),
    "django_celery_results.taskresult": Page(VIEWERS),
    "auth.user": Page(SUPERUSER, add=SUPERUSER, change=SUPERUSER, delete=SUPERUSER),
    "auth.group": Page(SUPERUSER, add=SUPERUSER, change=SUPERUSER, delete=SUPERUSER),
    "axes.accessattempt": Page(SUPERUSER, change=SUPERUSER, delete=SUPERUSER),
    "axes.accesslog": Page(SUPERUSER, change=SUPERUSER, delete=SUPERUSER),
    "axes.accessfailurelog": Page(SUPERUSER, change=SUPERUSER, delete=SUPERUSER),
    "trips.trip": Page(VIEWERS),
    "trips.cruise": Page(VIEWERS),
} | {f"{service}.{kind}": Page(VIEWERS) for service in SERVICES for kind in ("outbox", "inbox")}

ACT = only("operator", "superuser")
PAUSE_STEPS = only("operator", "approver", "superuser")
DECIDE = only("approver", "superuser")

# The actions of the lists, and the roles that are offered them.
ACTIONS = {
    **{
        (model, action): ACT
        for model in ("orders.order", "returns.return", "trips.trip", "trips.cruise")
        for action in ("retry", "publish", "cancel", "hold", "release")
    },
    ("staff.logentry", "export"): VIEWERS,
    ("auth.user", "delete_selected"): SUPERUSER,
    ("auth.group", "delete_selected"): SUPERUSER,
    ("axes.accessattempt", "delete_selected"): SUPERUSER,
    ("axes.accesslog", "delete_selected"): SUPERUSER,
    ("axes.accessfailurelog", "delete_selected"): SUPERUSER,
} | {
    (f"{service}.{kind}", action): ACT
    for service in SERVICES
    for kind, action in (("outbox", "publish_again"), ("inbox", "try_now"))
}  # fmt: skip

# The console's views: method, data, and the roles that may call them.
VIEWS: dict[str, tuple[str, dict[str, str], frozenset[str]]] = {
    "failures": ("GET", {}, VIEWERS),
    "failure": ("GET", {}, VIEWERS),
    "holds": ("GET", {}, VIEWERS),
    "live": ("GET", {}, VIEWERS),
    "export": ("GET", {}, VIEWERS),
    "progress": ("GET", {}, VIEWERS),
    "hold_step": ("POST", {"action": "hold_step", "step": "payments.charge"}, PAUSE_STEPS),
    "limit_calls": (
        "POST",
        {"service": "payments", "key": "stripe", "per_second": "1", "reason": "x"},
        PAUSE_STEPS,
    ),
    "act": ("POST", {"action": "cancel"}, ACT),
    "by_hand": ("POST", {"step": "payments.refund"}, ACT),
    "sagas": ("GET", {}, VIEWERS),
    "saga": ("GET", {}, VIEWERS),
    "saga_act": ("POST", {"action": "cancel"}, ACT),
    "saga_by_hand": ("POST", {"step": "payments.refund"}, ACT),
    "saga_export": ("GET", {}, VIEWERS),
    "saga_signal": ("POST", {"type": "trip.reviewed", "reason": "x"}, ACT),
    "propose": ("POST", {"amount": "1.00", "reason": "x"}, ACT),
    "confirm": ("POST", {"reason": "x"}, ACT),
    "approve": ("POST", {}, DECIDE),
    "decline": ("POST", {}, DECIDE),
}


def label(model: type[models.Model]) -> str:
    return model._meta.label_lower


def url(model: type[models.Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{label(model).replace('.', '_')}_{page}", args=args)


def row_of(model: type[models.Model], order: Order) -> Any:
    """Return the order, or a row of another model that is not in the database."""
    if model is Order:
        return order
    fields = {"plan": order.plan} if issubclass(model, TrackedSaga) else {}
    return model(pk=unknown(model), **fields)


def unknown(model: type[models.Model]) -> Any:
    """Return a key that no row has."""
    field = model._meta.pk
    return uuid7() if isinstance(field, models.UUIDField) else 999_999_999


def test_the_table_has_every_model_of_the_admin():
    assert set(map(label, admin.site._registry)) == set(PAGES)


@pytest.mark.parametrize("role", ROLES)
def test_every_page_of_the_admin_opens_for_the_roles_of_the_table(role, order, monkeypatch):
    client, allowed = admin_client(role), role in MEMBERS_OF_STAFF
    for model, pages in admin.site._registry.items():
        page = PAGES[label(model)]
        key, row = unknown(model), row_of(model, order)
        # A role with the right is redirected, because the row does not exist. A role without the
        # right asks for a row that exists, because Django 6.1 redirects it from a missing row too.
        expected = {
            ("GET", url(model, "changelist")): (page.view | page.change, 200),
            ("GET", url(model, "add")): (page.add, 200),
            ("GET", url(model, "change", key)): (page.view | page.change, 302),
            ("POST", url(model, "change", key)): (page.change, 302),
            ("POST", url(model, "delete", key)): (page.delete, 302),
        }
        for (method, path), (roles, status) in expected.items():
            with monkeypatch.context() as patches:
                if role not in roles:
                    patches.setattr(pages, "get_object", lambda *args, found=row, **kwargs: found)
                answer = client.generic(method, path)
            if not allowed:
                assert answer.headers.get("Location", "").startswith("/admin/login/"), path
            elif role in roles:
                assert answer.status_code in {200, status}, (role, method, path)
            else:
                assert answer.status_code == 403, (role, method, path)


def test_the_table_has_every_action_of_every_list():
    assert _offered("superuser") == set(ACTIONS)


@pytest.mark.parametrize("role", names(MEMBERS_OF_STAFF))
def test_a_list_offers_the_actions_that_the_role_may_take(role):
    assert _offered(role) == {action for action, roles in ACTIONS.items() if role in roles}


@pytest.mark.parametrize("role", names(MEMBERS_OF_STAFF))
def test_the_page_of_one_row_takes_no_action_from_any_role_and_logs_the_attempt(
    role, order, monkeypatch
):
    """Django offers actions there from release 6.1 on. This project offers them in lists only."""
    client = admin_client(role)
    for model, page in admin.site._registry.items():
        row = row_of(model, order)
        names_of_actions = {action for name, action in ACTIONS if name == label(model)}
        for action in sorted(names_of_actions | {"delete_selected", "unheard_of"}):
            before, logged = rows(), LogEntry.objects.count()
            data = {
                "CHANGE_FORM-action": action,
                "CHANGE_FORM-select_across": "1",
                "_selected_action": [str(row.pk)],
                "action": action,
                "post": "yes",
            }
            with monkeypatch.context() as patches:
                patches.setattr(page, "get_object", lambda *args, found=row, **kwargs: found)
                answer = client.post(url(model, "change", row.pk), data)
            assert answer.status_code == 403, (label(model), action)
            assert rows() == before, (label(model), action)
            (entry,) = LogEntry.objects.order_by("id")[logged:]
            assert (entry.who, entry.what) == (role, "refused"), (label(model), action)


def test_no_page_has_actions_of_the_theme_which_ask_no_policy():
    for page in admin.site._registry.values():
        assert isinstance(page, KnownRowsAdmin), page
        for place in ("list", "row", "detail", "submit_line"):
            assert not getattr(page, f"actions_{place}", ()), page


def _offered(role):
    request = RequestFactory().get("/")
    request.user = user_of(role)
    return {
        (label(model), name)
        for model, page in admin.site._registry.items()
        if page.has_view_permission(request)
        for name in page.get_actions(request)
    }


@pytest.fixture
def order(monkeypatch):
    monkeypatch.setattr("sagas.delivery.wakeup.request_flush", lambda service: None)
    monkeypatch.setattr("console.views.runs.work_soon", lambda: None)
    harness.stocked("MUG")
    return harness.order(of="ada")


def rows():
    """Return the rows that the admin and the console can change."""
    tables = (Order, Product, StockItem, StockAdjustment, Run, Finding)
    return [[*table.objects.order_by("pk").values()] for table in tables]


@pytest.mark.parametrize("role", ROLES)
def test_an_action_on_orders_drafts_a_run_for_the_roles_that_may_take_it(role, order):
    client = admin_client(role)
    for (page, action), roles in ACTIONS.items():
        if page != "orders.order":
            continue
        before = rows()
        data = {"action": action, "_selected_action": [str(order.id)]}
        client.post("/admin/orders/order/", data)
        run = Run.objects.filter(action=action).first()
        assert (run is not None) == (role in roles), action
        if run is None:
            assert rows() == before, action
    order.refresh_from_db()
    assert order.status == "pending"


PATTERNS = [
    (urls.app_name, pattern)
    for urls in (console_urls, backoffice_urls)
    for pattern in urls.urlpatterns
]


def test_the_table_has_every_view_of_the_console():
    assert {pattern.name for _, pattern in PATTERNS} == set(VIEWS)


@pytest.mark.parametrize("role", ROLES)
def test_every_view_of_the_console_answers_the_roles_of_the_table(role, order):
    client = admin_client(role)
    run = Run.objects.create(action="retry", requested_by=user_of("ada"))
    arguments: dict[str, Any] = {"order_id": order.id, "run_id": run.id, "key": "none"}
    arguments |= {"saga": order.id, "step": "payments.charge", "name": "goodwill"}
    for namespace, pattern in PATTERNS:
        method, data, roles = VIEWS[str(pattern.name)]
        wanted = {name: arguments[name] for name in pattern.pattern.converters}
        path, before = reverse(f"{namespace}:{pattern.name}", kwargs=wanted), rows()
        answer = client.post(path, data) if method == "POST" else client.get(path)
        if role not in MEMBERS_OF_STAFF:
            assert answer.headers["Location"].startswith("/admin/login/"), path
        elif role in roles:
            assert answer.status_code in {200, 302, 404}, (role, path)
        else:
            assert answer.status_code == 403, (role, path)
        if role not in roles:
            assert rows() == before, path


PRODUCT = {"sku": "CUP", "name": "Cup", "unit_amount": "1", "currency": "eur", "active": "on"}
FORMS = [
    ("add_product", "/admin/orders/product/add/", PRODUCT),
    (
        "change_product",
        "/admin/orders/product/{product}/change/",
        PRODUCT | {"unit_amount": "9", "reason": "x"},
    ),
    (
        "adjust_stock",
        "/admin/inventory/stockadjustment/add/",
        {"sku": "MUG", "quantity": "1", "reason": "x"},
    ),
]
OUTCOMES = {
    "add_product": "name 'Cup', unit_amount 1, currency 'eur', active True.",
    "change_product": "name 'Mug' → 'Cup', unit_amount 1250 → 9.",
    "adjust_stock": "+1 pieces of MUG.",
}


@pytest.mark.parametrize("role", names(MEMBERS_OF_STAFF))
def test_a_form_writes_and_is_logged_or_is_refused_and_is_logged(
    role, order, django_capture_on_commit_callbacks
):
    client = admin_client(role)
    for action, path, data in FORMS:
        before = rows()
        with django_capture_on_commit_callbacks(using="inventory", execute=True):
            answer = client.post(path.format(product=Product.objects.get(sku="MUG").pk), data)
        entries = LogEntry.objects.filter(action=action).order_by("id")
        if role in CATALOGUE:
            assert (answer.status_code, rows() != before) == (302, True), action
            assert [entry.outcome for entry in entries][-1] == OUTCOMES[action]
        else:
            assert (answer.status_code, rows() == before) == (403, True), action
            assert [entry.what for entry in entries] == [LogEntry.Kind.REFUSED]
        assert {(entry.who, entry.via) for entry in entries} == {(role, "admin")}
