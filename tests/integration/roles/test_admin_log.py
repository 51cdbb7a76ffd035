"""Every write that the admin offers is done once, and must leave an entry in the log of staff."""

from collections.abc import Callable
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from console.models import Run
from orders.models import Product
from staff.models import LogEntry
from tests.integration.console.payments_rows import discrepancy
from tests.integration.orders import harness
from tests.integration.roles.roles import admin_client, user_of
from tests.integration.roles.test_admin import ACTIONS, PRODUCT, label, unknown, url

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, databases="__all__")]

USER = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", "is_active": "on"}
STOCK = {"sku": "MUG", "quantity": "1", "reason": "Counted."}
PASSWORDS = {"password1": "battery staple 9", "password2": "battery staple 9"}
PRICE = PRODUCT | {"unit_amount": "9", "reason": "The supplier raised it."}


def product() -> Any:
    return Product.objects.create(sku="CUP", name="Cup", unit_amount=1, currency="eur").pk


def user() -> Any:
    return User.objects.create_user("carl").pk


def group() -> Any:
    return Group.objects.create(name="payers").pk


def attempt() -> Any:
    return AccessAttempt.objects.create(
        username="olga", ip_address="192.0.2.1", failures_since_start=1
    ).pk


def login() -> Any:
    return AccessLog.objects.create(username="olga", ip_address="192.0.2.1").pk


def failure() -> Any:
    return AccessFailureLog.objects.create(username="olga", ip_address="192.0.2.1").pk


POST = {"post": "yes"}

# How each form writes: the row it is about, and its fields.
FORMS: dict[tuple[str, str], tuple[Callable[[], Any] | None, dict[str, Any]]] = {
    ("orders.product", "add"): (None, PRODUCT),
    ("orders.product", "change"): (product, PRICE),
    ("inventory.stockadjustment", "add"): (None, STOCK),
    ("payments.drift", "change"): (lambda: discrepancy().pk, {"closed_why": "A gift."}),
    ("auth.user", "add"): (None, {"username": "dora", "usable_password": "true", **PASSWORDS}),
    ("auth.user", "change"): (user, {"username": "karl", **USER}),
    ("auth.user", "delete"): (user, POST),
    ("auth.group", "add"): (None, {"name": "payers"}),
    ("auth.group", "change"): (group, {"name": "payees"}),
    ("auth.group", "delete"): (group, POST),
    ("axes.accessattempt", "change"): (attempt, {}),
    ("axes.accessattempt", "delete"): (attempt, POST),
    ("axes.accesslog", "change"): (login, {}),
    ("axes.accesslog", "delete"): (login, POST),
    ("axes.accessfailurelog", "change"): (failure, {}),
    ("axes.accessfailurelog", "delete"): (failure, POST),
}

READS = {("staff.logentry", "export")}
DELETES: dict[str, Callable[[], Any]] = {
    "auth.user": user,
    "auth.group": group,
    "axes.accessattempt": attempt,
    "axes.accesslog": login,
    "axes.accessfailurelog": failure,
}


@pytest.fixture
def root():
    """Return a client of a superuser, and forget how its user was made."""
    return admin_client("superuser")


def test_the_table_has_every_form_of_the_admin_that_writes():
    request = RequestFactory().post("/")
    request.user = user_of("superuser")
    offered = set()
    for model, page in admin.site._registry.items():
        permitted = {
            "add": page.has_add_permission(request),
            "change": page.has_change_permission(request),
            "delete": page.has_delete_permission(request),
        }
        offered |= {
            (label(model), form) for form, is_permitted in permitted.items() if is_permitted
        }
    assert offered == set(FORMS)


@pytest.mark.parametrize(("name", "form"), FORMS, ids=map(" ".join, FORMS))
def test_a_form_is_in_the_log(root, name, form):
    make, fields = FORMS[name, form]
    (model,) = (model for model in admin.site._registry if label(model) == name)
    key = [make()] if make else []
    before = LogEntry.objects.count()
    answer = root.post(url(model, form, *key), fields)
    assert answer.status_code == 302, answer.content
    entries = list(LogEntry.objects.order_by("seq")[before:])
    assert entries
    assert {(entry.who, entry.via) for entry in entries} == {("superuser", "admin")}
    assert entries[-1].what == "done"
    assert "olga" not in entries[-1].outcome


def test_the_selected_rows_that_are_deleted_are_in_the_log(root):
    deleting = {page for page, action in ACTIONS if action == "delete_selected"}
    assert deleting == set(DELETES)
    for name, make in DELETES.items():
        (model,) = (model for model in admin.site._registry if label(model) == name)
        key, before = make(), LogEntry.objects.count()
        data = {"action": "delete_selected", "_selected_action": [str(key)], **POST}
        assert root.post(url(model, "changelist"), data).status_code == 302, name
        (entry,) = LogEntry.objects.order_by("seq")[before:]
        assert (entry.who, entry.what, entry.via) == ("superuser", "done", "admin"), name
        assert str(key) in f"{entry.subject} {entry.outcome}", name


def test_the_entry_of_a_deletion_costs_the_same_for_many_rows(root):
    def delete(number: int) -> int:
        names = [f"name-{number}-{index}" for index in range(number)]
        users = [User.objects.create_user(name) for name in names]
        keys = [
            AccessAttempt.objects.create(username=name, failures_since_start=1).pk for name in names
        ]
        data = {"action": "delete_selected", "_selected_action": keys, **POST}
        with CaptureQueriesContext(connection) as queries:
            assert root.post(url(AccessAttempt, "changelist"), data).status_code == 302
        outcome = LogEntry.objects.latest("seq").outcome
        assert all(f"of user {user.pk}" in outcome for user in users)
        return len(queries)

    delete(1)  # fills the caches
    assert delete(2) == delete(20)


def test_every_other_action_of_a_list_drafts_a_run_which_has_entries_of_its_own(root, monkeypatch):
    monkeypatch.setattr("sagas.delivery.wakeup.request_flush", lambda service: None)
    harness.stocked("MUG")
    order = harness.order(of="ada")
    for name, action in ACTIONS:
        if (name, action) in READS or action == "delete_selected" or name.endswith("box"):
            continue
        (model,) = (model for model in admin.site._registry if label(model) == name)
        data = {"action": action, "_selected_action": [str(order.pk)]}
        root.post(url(model, "changelist"), data)
        assert Run.objects.filter(action=action).exists(), (name, action)


@pytest.mark.parametrize("role", ["viewer", "auditor", "approver", "catalogue"])
def test_an_action_that_the_list_does_not_offer_is_refused_and_in_the_log(role):
    """The request is forged, because the page has no such action."""
    client = admin_client(role)
    for (name, action), roles in ACTIONS.items():
        if role in roles:
            continue
        (model,) = (model for model in admin.site._registry if label(model) == name)
        before = LogEntry.objects.count()
        data = {"action": action, "_selected_action": [str(unknown(model))]}
        path = url(model, "changelist")
        assert client.post(path, data).status_code == 403, (name, action)
        (entry,) = LogEntry.objects.order_by("seq")[before:]
        assert (entry.who, entry.what, entry.action) == (role, "refused", "refused"), path
        assert entry.subject == f"POST {path}"


def test_a_refused_form_of_any_page_is_in_the_log():
    client = admin_client("viewer")
    for model in admin.site._registry:
        before, path = LogEntry.objects.count(), url(model, "delete", unknown(model))
        assert client.post(path, POST).status_code == 403
        (entry,) = LogEntry.objects.order_by("seq")[before:]
        assert (entry.who, entry.what, entry.subject) == ("viewer", "refused", f"POST {path}")
    assert client.get("/admin/auth/user/").status_code == 403
    assert LogEntry.objects.last() == entry  # a page that is only read is no entry


def fail(*_args: Any, **_kwargs: Any) -> Any:
    raise RuntimeError("No response.")


@pytest.mark.parametrize(("name", "form"), FORMS, ids=map(" ".join, FORMS))
def test_a_form_whose_transaction_is_rolled_back_is_in_the_log(root, name, form, monkeypatch):
    """Django's admin commits a form after the page has made its answer."""
    make, fields = FORMS[name, form]
    (model,) = (model for model in admin.site._registry if label(model) == name)
    key = [make()] if make else []
    monkeypatch.setattr(type(admin.site._registry[model]), f"response_{form}", fail)
    root.raise_request_exception = False
    before, rows = LogEntry.objects.count(), set(model._default_manager.values_list("pk"))

    assert root.post(url(model, form, *key), fields).status_code == 500

    assert set(model._default_manager.values_list("pk")) == rows
    entries = list(LogEntry.objects.order_by("seq")[before:])
    assert {(entry.who, entry.via) for entry in entries} == {("superuser", "admin")}
    assert {entry.what for entry in entries} <= {"intended", "failed"}
    assert entries[-1].what == "failed"
    assert entries[-1].outcome.startswith("The transaction of this write was rolled back.")
