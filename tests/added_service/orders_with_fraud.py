"""Orders through the step of the README. `tests.system.test_added_service` runs this in a copy."""

import pytest
from django.apps import apps
from django.db import connections

from orders.models import TimelineEvent
from services import ALIASES, NAMES
from tests.processes import until
from tests.system.harness import assert_sound, ended, net, order, outcome, shop, system

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]

FRAUD = "fraud"


def states(order_id):
    """Return the states of the order's steps at fraud."""
    return dict(
        apps.get_model(FRAUD, "Inbox").objects.filter(saga=order_id).values_list("step", "state")
    )


def events(order_id):
    """Return the types of the order's events from all services, oldest first."""
    return list(TimelineEvent.objects.filter(saga=order_id).values_list("type", flat=True))


def test_orders_pass_the_step_are_refused_by_it_or_have_it_undone(api_client):
    with system() as workers:
        fulfilled = order(api_client, "good")
        suspicious = order(api_client, "large", quantity=1_001)
        sold_out = order(api_client, "greedy", sku="RARE", quantity=4)
        placed = [fulfilled, suspicious, sold_out]
        until(lambda: ended(*placed), "all orders have ended", process=workers["fraud"])

    assert outcome(fulfilled) == ("fulfilled", "")
    assert outcome(suspicious) == ("cancelled", "fraud_suspected")
    assert outcome(sold_out) == ("cancelled", "out_of_stock")
    assert [net(order_id) for order_id in placed] == [1_000, 0, 0]

    assert states(fulfilled) == {"fraud.check": "done"}
    assert states(suspicious) == {"fraud.check": "refused"}
    assert states(sold_out) == {"fraud.check": "done", "fraud.forget": "done"}
    assert events(suspicious) == ["order.created", "fraud.check_refused", "order.cancelled"]
    assert_sound()


def test_the_tables_are_in_the_database_of_the_registry():
    assert "fraud" in NAMES
    with_tables = {
        alias
        for alias in connections
        if "fraud_outbox" in connections[alias].introspection.table_names()
    }
    assert with_tables == {ALIASES["fraud"]}
