"""A client generated from docs/openapi.yaml works against the whole system."""

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from tests.integration.orders import harness
from tests.processes import ROOT, api, until
from tests.system.harness import QUICK, shop, system

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.slow,
]

__all__ = ["shop"]

PACKAGE = "generated_client"
CALLS = {
    "auth": ("create_token",),
    "orders": ("cancel_order", "get_order", "list_order_events", "list_orders", "place_order"),
    "products": ("add_product", "get_product"),
    "returns": (
        "cancel_return",
        "get_return",
        "list_return_events",
        "list_returns",
        "request_return",
    ),
    "sagas": ("answer_wait",),
    "stock": ("adjust_stock", "get_stock"),
}


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Generate and import the client package: models, client, and functions by operation id."""
    _generate(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    calls = {
        name: import_module(f"{PACKAGE}.api.{tag}.{name}")
        for tag, names in CALLS.items()
        for name in names
    }
    yield SimpleNamespace(
        models=import_module(f"{PACKAGE}.models"), at=import_module(PACKAGE), **calls
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def _generate(folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text("post_hooks: []\n")  # no formatter is needed
    command = (
        "generate",
        "--path",
        str(ROOT / "docs" / "openapi.yaml"),
        "--config",
        str(config),
        "--fail-on-warning",
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "openapi_python_client",
            *command,
            "--meta",
            "none",
            "--output-path",
            folder / PACKAGE,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def signed_in(client, url, username, password):
    """A client with a token that the generated function has obtained."""
    here = {"base_url": url, "httpx_args": {"trust_env": False}}
    credentials = client.models.Credentials(username=username, password=password)
    with client.at.Client(**here) as anonymous:
        token = client.create_token.sync(client=anonymous, body=credentials).token
    with client.at.AuthenticatedClient(token=token, **here) as authenticated:
        yield authenticated


def test_a_generated_client_places_follows_and_cancels_orders(client):
    sam = harness.user("sam", "catalogue")
    sam.set_password("correct horse")
    sam.save()
    User.objects.create_superuser("root", password="correct horse")
    User.objects.create_user("eve", password="battery staple")
    models = client.models
    with ExitStack() as stack:
        workers = stack.enter_context(system())
        url, _ = stack.enter_context(api(environ=QUICK))

        staff = stack.enter_context(signed_in(client, url, "sam", "correct horse"))
        product = models.NewProduct(sku="TEA-1", name="Tea", unit_amount=450, currency="eur")
        assert client.add_product.sync(client=staff, body=product).active is True
        delivery = models.NewAdjustment(quantity=20, reason="first delivery")
        assert client.adjust_stock.sync("TEA-1", client=staff, body=delivery).quantity == 20

        root = stack.enter_context(signed_in(client, url, "root", "correct horse"))
        eve = stack.enter_context(signed_in(client, url, "eve", "battery staple"))
        wanted = models.NewOrder(
            lines=[models.LineWanted(sku="TEA-1", quantity=3)], payment_method="pm_card_visa"
        )
        placed = client.place_order.sync(client=eve, body=wanted, idempotency_key=str(uuid4()))
        assert (placed.amount, placed.status, placed.failure) == (
            1350,
            models.OrderStatus.PENDING,
            None,
        )

        def fulfilled():
            return (
                client.get_order.sync(placed.id, client=eve).status is models.OrderStatus.FULFILLED
            )

        until(fulfilled, "the order is fulfilled", process=workers["orders"])
        events = client.list_order_events.sync(placed.id, client=eve).results
        assert events[0].type_ == "order.created"
        assert [order.id for order in client.list_orders.sync(client=eve).results] == [placed.id]

        too_late = client.cancel_order.sync_detailed(placed.id, client=eve)
        assert too_late.status_code == 409
        assert too_late.parsed.type_ == "/errors/order-fulfilled"

        wish = models.NewReturn(
            lines=[models.LineToReturn(sku="TEA-1", quantity=2)], reason="It is stale."
        )
        returned = client.request_return.sync(
            placed.id, client=eve, body=wish, idempotency_key=str(uuid4())
        )
        assert (returned.amount, returned.order_id, returned.failure) == (900, placed.id, None)
        arrived = models.NewSignal(
            type_="return.goods_received",
            reason="The parcel is here.",
            data=models.NewSignalData.from_dict({"lines": [{"sku": "TEA-1", "restock": 2}]}),
        )
        answer = client.answer_wait.sync(returned.id, "returns.receive", client=root, body=arrived)
        assert answer.result is models.SignalOutcome.ACCEPTED

        def completed():
            found = client.get_return.sync(returned.id, client=eve)
            return found.status is models.ReturnStatus.COMPLETED

        until(completed, "the return is completed", process=workers["returns"])
        assert [each.id for each in client.list_returns.sync(client=eve).results] == [returned.id]
        told = client.list_return_events.sync(returned.id, client=eve).results
        assert told[0].type_ == "return.requested"
        accepted = client.cancel_return.sync_detailed(returned.id, client=eve)
        assert accepted.status_code == 409

        poor = models.NewOrder(lines=wanted.lines, payment_method="pm_card_chargeDeclined")
        declined = client.place_order.sync(client=eve, body=poor, idempotency_key=str(uuid4()))

        def cancelled():
            return (
                client.get_order.sync(declined.id, client=eve).status
                is models.OrderStatus.CANCELLED
            )

        until(cancelled, "the order is cancelled", process=workers["payments"])
        assert client.get_order.sync(declined.id, client=eve).failure.code == "payment_declined"
        assert client.cancel_order.sync_detailed(declined.id, client=eve).status_code == 200

        strange = models.NewOrder(
            lines=[models.LineWanted(sku="NONE", quantity=1)], payment_method="pm_card_visa"
        )
        problem = client.place_order.sync(client=eve, body=strange, idempotency_key=str(uuid4()))
        assert isinstance(problem, models.Problem)
        assert (problem.type_, problem.errors[0].field) == ("/errors/invalid-input", "lines[0].sku")

        forbidden = client.get_stock.sync_detailed("TEA-1", client=eve)
        assert (forbidden.status_code, forbidden.parsed.type_) == (403, "/errors/forbidden")
