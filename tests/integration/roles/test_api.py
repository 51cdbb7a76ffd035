"""Every call of the API for every role, as one table: its answer, its rows, and its log entry."""

import json
import re
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import connections, transaction
from django.urls import get_resolver, reverse

from inventory.models import StockAdjustment, StockItem
from orders.models import Order, Outbox, Product
from orders.status import Status
from payments.models import Payment
from returns.models import Inbox as ReturnInbox
from returns.models import Return
from returns.services import LineToReturn, NewReturn, request_return
from sagas.ids import uuid7
from staff.models import LogEntry
from tests.integration.orders import harness
from tests.integration.roles.roles import GROUPS, ROLES, api_client, columns

pytestmark = pytest.mark.django_db(databases="__all__")

API = "/api/v1/"
AN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ORDER: dict[str, Any] = {"lines": [{"sku": "MUG", "quantity": 1}], "payment_method": "pm"}
PRODUCT: dict[str, Any] = {"sku": "CUP", "name": "Cup", "unit_amount": 1, "currency": "eur"}
REASON = {"reason": "The customer called."}
ADJUSTMENT = {"quantity": 1, "reason": "x"}
LOGIN = {"username": "x", "password": "y"}
RETURN = {"lines": [{"sku": "MUG", "quantity": 1}], "reason": "It does not fit."}
GOODWILL = {"amount": 100, "reason": "It came late."}
RECEIVE = "returns.receive/"
RECEIVED = {
    "type": "return.goods_received",
    "data": {"lines": [{"sku": "MUG", "restock": 1}]},
    "reason": "The parcel is here.",
}

# The order is Ada's. 401: not logged in. 403: not permitted. 404: not to be seen. The webhook and
# the login are open to all: the first is not signed, and the second has a wrong name.
TABLE = [
    # The columns are ROLES: anonymous, ada, bob, staff, viewer, operator, approver, catalogue,
    # auditor, superuser, inactive.
    ("GET", "orders/", "401 200 200 200 200 200 200 200 200 200 401"),
    ("POST", "orders/", "401 201 201 201 201 201 201 201 403 201 401"),
    ("GET", "orders/{order}/", "401 200 404 404 200 200 200 404 200 200 401"),
    ("GET", "orders/{order}/timeline/", "401 200 404 404 200 200 200 404 200 200 401"),
    ("POST", "orders/{order}/cancel/", "401 202 404 404 403 202 403 404 403 202 401"),
    ("GET", "products/", "401 200 200 200 200 200 200 200 200 200 401"),
    ("POST", "products/", "401 403 403 403 403 403 403 201 403 201 401"),
    ("GET", "products/MUG/", "401 200 200 200 200 200 200 200 200 200 401"),
    ("PATCH", "products/MUG/", "401 403 403 403 403 403 403 200 403 200 401"),
    ("GET", "stock/", "401 403 403 403 200 200 200 200 200 200 401"),
    ("GET", "stock/MUG/", "401 403 403 403 200 200 200 200 200 200 401"),
    ("GET", "stock/MUG/adjustments/", "401 403 403 403 200 200 200 200 200 200 401"),
    ("POST", "stock/MUG/adjustments/", "401 403 403 403 403 403 403 201 403 201 401"),
    ("GET", "payments/", "401 403 403 403 200 200 200 403 200 200 401"),
    ("GET", "payments/{payment}/", "401 403 403 403 200 200 200 403 200 200 401"),
    ("POST", "orders/{fulfilled}/returns/", "401 201 404 404 404 404 404 404 403 404 401"),
    ("POST", "orders/{fulfilled}/goodwill/", "401 403 403 403 403 201 403 403 403 201 401"),
    ("GET", "returns/", "401 200 200 200 200 200 200 200 200 200 401"),
    ("GET", "returns/{returned}/", "401 200 404 404 200 200 200 404 200 200 401"),
    ("GET", "returns/{returned}/timeline/", "401 200 404 404 200 200 200 404 200 200 401"),
    ("POST", "returns/{returned}/cancel/", "401 202 404 404 403 202 403 404 403 202 401"),
    ("POST", "sagas/{returned}/signals/" + RECEIVE, "401 403 403 403 403 202 403 403 403 202 401"),
    ("POST", "payments/webhooks/stripe/", "400 400 400 400 400 400 400 400 400 400 400"),
    ("POST", "auth/token/", "401 401 401 401 401 401 401 401 401 401 401"),
    ("DELETE", "auth/token/", "401 204 204 204 204 204 204 204 204 204 401"),
    ("DELETE", "auth/tokens/", "401 204 204 204 204 204 204 204 204 204 401"),
    ("GET", "schema/", "200 200 200 200 200 200 200 200 200 200 401"),
    ("GET", "docs/", "200 200 200 200 200 200 200 200 200 200 401"),
]  # fmt: skip

# Roles whose refused writes and revoked tokens are in the log.
MEMBERS = frozenset(GROUPS) - {"inactive"}

BODIES = {
    ("POST", "orders/"): ORDER,
    ("POST", "orders/{order}/cancel/"): REASON,
    ("POST", "products/"): PRODUCT,
    ("PATCH", "products/MUG/"): {"unit_amount": 9, "reason": "x"},
    ("POST", "stock/MUG/adjustments/"): ADJUSTMENT,
    ("POST", "orders/{fulfilled}/returns/"): RETURN,
    ("POST", "orders/{fulfilled}/goodwill/"): GOODWILL,
    ("POST", "returns/{returned}/cancel/"): REASON,
    ("POST", "sagas/{returned}/signals/" + RECEIVE): RECEIVED,
    ("POST", "payments/webhooks/stripe/"): {"id": "evt_1"},
    ("POST", "auth/token/"): LOGIN,
}

WITH_KEY = ("orders/", "orders/{fulfilled}/returns/", "orders/{fulfilled}/goodwill/")

# A role that may not view a saga is refused as for a saga that does not exist. So is its log entry.
ANSWER_A_WAIT = ("POST", "sagas/{returned}/signals/" + RECEIVE)
READ_OF_RETURN = "returns/{returned}/"

# The calls that write as staff, with their actions of the policy.
ACTIONS = {
    ("POST", "orders/{order}/cancel/"): "cancel",
    ("POST", "orders/{fulfilled}/goodwill/"): "give_goodwill",
    ("POST", "returns/{returned}/cancel/"): "cancel",
    ANSWER_A_WAIT: "receive_return",
    ("POST", "products/"): "add_product",
    ("PATCH", "products/MUG/"): "change_product",
    ("POST", "stock/MUG/adjustments/"): "adjust_stock",
}

# The outcome that the log has of a permitted write, with ID in place of each id.
OUTCOMES = {
    "give_goodwill": "Return ID: 100 eur out of goodwill.",
    "receive_return": "returns.receive is answered with return.goods_received.",
    "cancel": "Cancelling: the steps that were done are being undone.",
    "add_product": "name 'Cup', unit_amount 1, currency 'eur', active True.",
    "change_product": "unit_amount 1250 → 9.",
    "adjust_stock": "+1 pieces of MUG.",
}


@pytest.fixture
def places(monkeypatch):
    """Create an order of Ada's and its payment; return the values for the paths."""
    monkeypatch.setattr("sagas.delivery.wakeup.request_flush", lambda service: None)
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
    shipped = harness.order(Status.FULFILLED, of="ada")
    returned = request_return(
        user_id=shipped.user_id,
        order_id=shipped.id,
        key="k",
        new=NewReturn((LineToReturn("MUG", 1),), "It is broken."),
        render=lambda row: "{}",
    )
    return {
        "order": placed.id,
        "payment": paid.id,
        "fulfilled": shipped.id,
        "returned": returned.return_id,
    }


def rows():
    """Return the rows of all tables that the API can write."""
    return (
        [*Order.objects.order_by("id").values()],
        [*Product.objects.order_by("id").values()],
        [*StockItem.objects.order_by("sku").values()],
        StockAdjustment.objects.count(),
        Outbox.objects.count(),
        [*Return.objects.order_by("id").values()],
        [*ReturnInbox.objects.order_by("id").values()],
    )


def call(client, places, method, path):
    body = BODIES.get((method, path))
    return client.generic(
        method,
        API + path.format(**places),
        b"" if body is None else json.dumps(body).encode(),
        content_type="application/json",
        headers={"Idempotency-Key": "k2"} if path in WITH_KEY else {},
    )


@pytest.mark.parametrize("role", ROLES)
def test_every_call_answers_the_role_as_the_table_says(
    places, role, django_capture_on_commit_callbacks
):
    for method, path, numbers in TABLE:
        with rolled_back():
            client = api_client(role)
            before = rows(), LogEntry.objects.count()
            with django_capture_on_commit_callbacks(using="inventory", execute=True):
                answer = call(client, places, method, path)
            check(role, method, path, columns(numbers)[role], answer, before)


@contextmanager
def rolled_back():
    """Take back all changes in all databases."""
    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(transaction.atomic(alias))
        yield
        for alias in connections:
            transaction.set_rollback(True, alias)


def action_of(role, method, path):
    """Return the action of the policy that a call asks for; empty if it is none."""
    if (method, path) == ANSWER_A_WAIT:
        (numbers,) = (each[2] for each in TABLE if each[:2] == ("GET", READ_OF_RETURN))
        if columns(numbers)[role] == 404:
            return "signal"
    return ACTIONS.get((method, path), "")


def check(role, method, path, status, answer, counted):
    """Check the answer to a call, the rows that it wrote, and its log entry."""
    before, logged = counted
    entries = LogEntry.objects.order_by("id")
    action = action_of(role, method, path)
    cell = (role, method, path, answer.content[:300])
    assert answer.status_code == status, cell

    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", cell
        assert rows() == before, cell
    of_action = list(entries.filter(action=action)) if action else []
    if answer.status_code in {200, 201, 202} and action and role in GROUPS:
        assert rows() != before, cell
        last = next(
            entry
            for entry in reversed(of_action)
            if AN_ID.sub("ID", entry.outcome) == OUTCOMES[action]
        )
        assert (last.who, last.via) == (role, "api"), cell
    elif answer.status_code == 403 and action and role in GROUPS:
        assert [(entry.who, entry.what, entry.via) for entry in of_action] == [
            (role, LogEntry.Kind.REFUSED, "api")
        ], cell
    elif role in {"anonymous", "ada", "bob"}:
        assert entries.count() == logged, cell  # customers do not fill the log of staff
    elif method != "GET" and answer.status_code in {204, 403}:
        assert [entry.who for entry in entries[logged:]] == [role] * (role in MEMBERS), cell


def test_the_table_has_every_method_of_every_path_of_the_api():
    described = {
        (method, API + path.format_map(defaultdict(lambda: ID))) for method, path, _ in TABLE
    }
    assert _operations() == described


ID = uuid7()
KNOWN = {"sku": "MUG", "step": "returns.receive"}


def _operations():
    """Return the methods and paths of the URL configuration below /api/v1/."""
    resolver = get_resolver()
    names = {name for name in resolver.reverse_dict if isinstance(name, str)}
    found = set()
    for name in names:
        ((path, parameters),) = resolver.reverse_dict.getlist(name)[0][0][:1]
        if not path.startswith("api/v1/"):
            continue
        url = reverse(name, args=[KNOWN.get(one, ID) for one in parameters])
        view: Any = vars(resolver.resolve(url).func)["view_class"]
        methods = set(view.http_method_names) - {"options", "head", "trace"}
        found |= {(method.upper(), url) for method in methods if hasattr(view, method)}
    return found


def test_customers_see_their_own_orders_and_who_may_view_orders_sees_all(places):
    for role in set(ROLES) - {"anonymous", "inactive"}:
        sees = role in {"ada", "viewer", "operator", "approver", "auditor", "superuser"}
        listed = api_client(role).get(harness.ORDERS).json()["results"]
        assert [one["id"] for one in listed] == [
            str(places["fulfilled"]),
            str(places["order"]),
        ] * sees, role
        assert all(("payment" in one) == (role != "ada") for one in listed), role


@pytest.mark.parametrize(
    ("role", "queries"),
    [
        ("ada", 3),  # token, user and role; the page; its lines
        ("auditor", 5),  # the same; the permissions of the user, and of the groups
    ],
)
def test_the_permissions_cost_customers_no_query(places, role, queries, django_assert_num_queries):
    client = api_client(role)
    with django_assert_num_queries(queries):
        assert client.get(harness.ORDERS).status_code == 200
