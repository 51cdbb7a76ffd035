"""All fault tests share one system. It starts once, and its rows stay between tests."""

import pytest
from django.core.management import call_command
from django.db import connections

from inventory.services import adjust_stock
from orders.models import Product
from tests.broker import empty
from tests.conftest import _end_other_sessions
from tests.faults.customer import Customer
from tests.faults.full_system import full_system_in


@pytest.fixture(scope="package")
def system(django_db_setup, django_db_blocker, tmp_path_factory):
    """The running system, with many mugs and three rare mugs in stock."""
    with django_db_blocker.unblock():
        empty()
        Product.objects.create(sku="MUG", name="Mug", unit_amount=1_000, currency="eur")
        Product.objects.create(sku="RARE", name="A rare mug", unit_amount=9_000, currency="eur")
        adjust_stock(sku="MUG", quantity=100_000, reason="delivery", by="tests")
        adjust_stock(sku="RARE", quantity=3, reason="delivery", by="tests")
        with full_system_in(tmp_path_factory.mktemp("system")) as running:
            yield running

        _end_other_sessions()
        for alias in connections:
            call_command("flush", database=alias, interactive=False, verbosity=0)

        empty()


@pytest.fixture
def _django_db_helper(system):
    """Replace pytest-django's fixture, which would wrap a test in a transaction or empty the
    tables.
    """


@pytest.fixture(scope="package")
def customer(system):
    return Customer(system)
