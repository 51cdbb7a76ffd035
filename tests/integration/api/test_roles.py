"""The permissions of every call for every role, as one table; and the admin for auditors."""

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import get_resolver, reverse

from api.auth.roles import AUDITORS, is_auditor
from inventory.models import StockAdjustment, StockItem
from orders.models import Order, Outbox, Product
from payments.models import Payment
from sagas.ids import uuid7
from tests.integration.orders import harness

pytestmark = pytest.mark.django_db(databases="__all__")

API = "/api/v1/"
ID = uuid7()
JSON = "application/json"

ORDER: dict[str, Any] = {"lines": [{"sku": "MUG", "quantity": 1}], "payment_method": "pm"}
PRODUCT: dict[str, Any] = {"sku": "CUP", "name": "Cup", "unit_amount": 1, "currency": "eur"}

# The order is Ada's. 401: who are you? 403: not for you. 404: there is nothing for you to see.
WHO = ("stranger", "ada", "bob", "auditor", "staff")
TABLE = [
    #                                                       stranger ada  bob auditor staff
    ("GET", "orders/", None, (401, 200, 200, 200, 200)),
    ("POST", "orders/", ORDER, (401, 201, 201, 403, 201)),
    ("GET", "orders/{order}/", None, (401, 200, 404, 200, 200)),
    ("GET", "orders/{order}/timeline/", None, (401, 200, 404, 200, 200)),
    ("POST", "orders/{order}/cancel/", None, (401, 202, 404, 403, 202)),
    ("GET", "products/", None, (401, 200, 200, 200, 200)),
    ("POST", "products/", PRODUCT, (401, 403, 403, 403, 201)),
    ("GET", "products/MUG/", None, (401, 200, 200, 200, 200)),
    ("PATCH", "products/MUG/", {"name": "x"}, (401, 403, 403, 403, 200)),
    ("GET", "stock/", None, (401, 403, 403, 200, 200)),
    ("GET", "stock/MUG/", None, (401, 403, 403, 200, 200)),
    ("GET", "stock/MUG/adjustments/", None, (401, 403, 403, 200, 200)),
    ("POST", "stock/MUG/adjustments/", {"quantity": 1, "reason": "x"}, (401, 403, 403, 403, 201)),
    ("GET", "payments/", None, (401, 403, 403, 200, 200)),
    ("GET", "payments/{payment}/", None, (401, 403, 403, 200, 200)),
    (
        "POST",
        "payments/webhooks/stripe/",
        {"id": "evt_1"},
        (400, 400, 400, 400, 400),
    ),  # open to all: not signed
    (
        "POST",
        "auth/token/",
        {"username": "x", "password": "y"},
        (401, 401, 401, 401, 401),
    ),  # open to all: a wrong name
    ("DELETE", "auth/token/", None, (401, 204, 204, 204, 204)),
    ("DELETE", "auth/tokens/", None, (401, 204, 204, 204, 204)),
    ("GET", "schema/", None, (200, 200, 200, 200, 200)),
    ("GET", "docs/", None, (200, 200, 200, 200, 200)),
]
CELLS = [
    (method, path, body, who, status)
    for method, path, body, statuses in TABLE
    for who, status in zip(WHO, statuses, strict=True)
]


@pytest.fixture
def places():
    """Create an order of Ada's and its payment; return the values for the paths."""
    harness.stocked("MUG")
    StockItem.objects.create(sku="MUG", on_hand=5)
    placed = harness.order(of="ada")
    paid = Payment.objects.create(
        id=uuid7(),
        order_id=placed.id,
        amount=2500,
        currency="eur",
        payment_method="pm",
        charge_key=f"charge-{placed.id}",
        refund_key=f"refund-{placed.id}",
    )
    return {"order": placed.id, "payment": paid.id}


def as_(who):
    """Return a client of a role in the table."""
    if who == "stranger":
        return Client(raise_request_exception=False)
    if who == "auditor":
        auditor = harness.user("auditor", is_staff=True)
        auditor.groups.add(Group.objects.get(name=AUDITORS))
    return harness.client_of(who, is_staff=who == "staff")


def written():
    """Return the rows of all tables that the API can write."""
    return (
        [*Order.objects.order_by("id").values()],
        [*Product.objects.order_by("id").values()],
        [*StockItem.objects.order_by("sku").values()],
        StockAdjustment.objects.count(),
        Outbox.objects.count(),
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "who", "status"),
    CELLS,
    ids=[f"{who}-{cell[0]}-{cell[1]}" for *cell, who, _ in CELLS],
)
def test_who_may_do_what(places, method, path, body, who, status):
    client = as_(who)
    before = written()
    answer = client.generic(
        method,
        API + path.format(**places),
        b"" if body is None else json.dumps(body).encode(),
        content_type=JSON,
        headers={"Idempotency-Key": "k"},
    )
    assert answer.status_code == status
    if status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert written() == before


def test_the_table_has_every_path_of_the_api():
    routes = {str(route) for route in get_resolver().reverse_dict if isinstance(route, str)}
    inside = {reverse(name, args=_some(name)) for name in routes if _is_api(name)}
    assert inside == {API + path.format(order=ID, payment=ID) for _, path, *_ in TABLE}


def _some(name):
    """Return the arguments of a path in the table."""
    ((_, parameters),) = get_resolver().reverse_dict.getlist(name)[0][0][:1]
    return ["MUG" if parameter == "sku" else ID for parameter in parameters]


def _is_api(name):
    ((path, _),) = get_resolver().reverse_dict.getlist(name)[0][0][:1]
    return path.startswith("api/v1/")


def test_an_auditor_sees_the_orders_of_all_and_who_is_none_their_own(places):
    assert [one["id"] for one in as_("auditor").get(harness.ORDERS).json()["results"]] == [
        str(places["order"])
    ]
    assert as_("bob").get(harness.ORDERS).json()["results"] == []


def test_one_query_tells_who_it_is_and_what_they_are(places, django_assert_num_queries):
    client = as_("auditor")
    with django_assert_num_queries(3):  # token, user and role; the page; its lines
        assert client.get(harness.ORDERS).status_code == 200


PAGES = [
    f"{app}_{model}"
    for app, models in {
        "orders": ("order", "product", "outbox", "inbox"),
        "payments": ("payment", "simulatedcharge", "outbox", "inbox"),
        "inventory": ("stockitem", "reservation", "stockadjustment", "outbox", "inbox"),
    }.items()
    for model in models
]


@pytest.fixture
def auditor_in_admin(client):
    call_command("make_auditor", User.objects.create_user("ann").username, stdout=StringIO())
    client.force_login(User.objects.get(username="ann"))
    return client


@pytest.mark.parametrize("page", PAGES)
def test_an_auditor_sees_every_page_of_the_admin_and_changes_nothing_there(
    auditor_in_admin, places, page
):
    assert auditor_in_admin.get(reverse(f"admin:{page}_changelist")).status_code == 200
    assert auditor_in_admin.get(reverse(f"admin:{page}_add")).status_code == 403


def test_an_auditor_opens_a_product_and_cannot_change_it(auditor_in_admin, places):
    product = Product.objects.get()
    page = reverse("admin:orders_product_change", args=[product.pk])
    assert auditor_in_admin.get(page).status_code == 200
    assert (
        auditor_in_admin.post(page, {"name": "x", "unit_amount": 1, "currency": "eur"}).status_code
        == 403
    )


def test_an_auditor_has_no_actions(auditor_in_admin, places):
    listed = reverse("admin:orders_order_changelist")
    auditor_in_admin.post(listed, {"action": "cancel", "_selected_action": [str(places["order"])]})
    assert Order.objects.get().status == "pending"


@pytest.mark.parametrize("page", ["auth_user", "auth_group", "axes_accessattempt"])
def test_users_tokens_and_logins_are_no_business_of_auditors(auditor_in_admin, page):
    assert auditor_in_admin.get(reverse(f"admin:{page}_changelist")).status_code == 403


def test_the_command_makes_an_auditor_of_a_user_but_not_of_a_superuser(db):
    User.objects.create_user("ann")
    call_command("make_auditor", "ann", stdout=StringIO())
    ann = User.objects.get()
    assert (is_auditor(ann), ann.is_staff) == (True, True)
    User.objects.create_superuser("sue")
    for name in ("sue", "stranger"):
        with pytest.raises(CommandError):
            call_command("make_auditor", name)
