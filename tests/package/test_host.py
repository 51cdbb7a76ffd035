"""A project with one database, two apps, and two kinds of saga in one of them."""

from pathlib import Path

import pytest

from tests.package.conftest import QUICKSTART, SETTINGS, new_project
from tests.package.project import TEST_SETTINGS, code_blocks, until

pytestmark = pytest.mark.package

HOST = Path(__file__).parent / "host"

# `bank` is a service of its own, so it needs no line of the shop.
APPS = 'INSTALLED_APPS += ["bank"]\nSAGAS["STEP_ATTEMPTS"] = 2\n'

ADMIN = """
from django.contrib import admin
from sagas.admin.messages import InboxAdmin, OutboxAdmin
from sagas.admin.tracked import SagaAdmin
from sagas.kinds import Fact, Money, SagaKind, register
from shop.models import Messaging, Order

@register(Order)
class OrderKind(SagaKind):
    def status(self, row):
        return row.status
    def facts(self, row):
        return [Fact("Amount", Money(row.amount, "eur"))]
admin.site.register(Messaging.outbox, OutboxAdmin)
admin.site.register(Messaging.inbox, InboxAdmin)
admin.site.register(Order, SagaAdmin)
"""

START = """
from sagas import start
from shop.models import Order
from shop.saga import PLACE, TAKE_BACK, OrderPlaced, ReturnAsked
row = Order(amount={amount})
start({saga}, row, {event}(amount={amount}))
print(row.pk)
"""

PAGES = """
from django.contrib.auth.models import User
from django.test import Client
client = Client(HTTP_HOST="localhost")
client.force_login(User.objects.filter(username="root").first() or
                   User.objects.create_superuser("root"))
for page in ("outbox", "inbox", "order"):
    for query in ("", "?q=order", "?state=due", "?older=1m"):
        answer = client.get(f"/admin/shop/{page}/{query}", follow=True)
        print("page", page, query, answer.status_code)
"""

KIND = (
    PAGES.partition("for page")[0]
    + """
from shop.models import Order
from shop.saga import PLACE, OrderPlaced
from sagas import start
row = start(PLACE, Order(amount=70), OrderPlaced(amount=70))
listed = client.get("/admin/shop/order/").content.decode()
shown = client.get(f"/admin/shop/order/{row.pk}/change/")
sent = client.get("/admin/shop/outbox/").content.decode()
found = "Amount 0.70 EUR" in listed
print("kind", found, shown.status_code, f"/admin/shop/order/{row.pk}/" in sent)
"""
)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return new_host(tmp_path_factory.mktemp("host"))


def new_host(folder):
    """Return the project, with its tables and without a worker."""
    project = new_project(folder / "project", "shop", "bank")
    config = {
        name: code
        for name, code in code_blocks(QUICKSTART.read_text()).items()
        if name.startswith("config/")
    }
    project.write(config, append=(SETTINGS,))
    project.write({SETTINGS: TEST_SETTINGS + APPS}, append=(SETTINGS,))
    project.write({str(path.relative_to(HOST)): path.read_text() for path in HOST.glob("*/*.py")})
    project.write({"shop/admin.py": ADMIN})
    project.manage("makemigrations", "shop", "bank")
    project.manage("migrate", "-v0")
    return project


@pytest.fixture(scope="module")
def worker(host):
    with host.worker() as worker:
        yield worker


def place(host, amount):
    code = START.format(saga="PLACE", event="OrderPlaced", amount=amount)
    return host.shell(code).splitlines()[-1]


def take_back(host, amount):
    code = START.format(saga="TAKE_BACK", event="ReturnAsked", amount=amount)
    return host.shell(code).splitlines()[-1]


def await_end(host, saga, status):
    statement = "SELECT status = %s AND ended_at IS NOT NULL FROM shop_order WHERE id = %s"
    until(lambda: host.value(statement, status, saga), f"{saga} is {status}")


def bookings(host, saga):
    return [
        amount for (amount,) in host.query("SELECT amount FROM bank_booking WHERE saga = %s", saga)
    ]


def test_the_checks_accept_the_project(host):
    assert "no issues" in host.manage("check")


def test_a_saga_runs_through_both_apps(host, worker):
    order = place(host, 70)
    await_end(host, order, "confirmed")
    assert bookings(host, order) == [70]


def test_a_refusal_undoes_the_saga(host, worker):
    order = place(host, 400)
    await_end(host, order, "cancelled")
    assert bookings(host, order) == []


def test_a_step_that_raises_is_rolled_back_tried_again_and_given_up(host, worker):
    order = place(host, 500)
    await_end(host, order, "cancelled")
    assert bookings(host, order) == []
    assert "The bank's computer says no." in worker.output()


def test_a_step_that_raises_once_is_done_once(host, worker):
    order = place(host, 501)
    await_end(host, order, "confirmed")
    assert bookings(host, order) == [501]


def test_two_kinds_of_saga_in_one_app_do_not_disturb_each_other(host, worker):
    order, taken_back = place(host, 30), take_back(host, 30)
    await_end(host, order, "confirmed")
    await_end(host, taken_back, "taken back")
    assert (bookings(host, order), bookings(host, taken_back)) == ([30], [-30])


def test_the_admin_shows_outbox_and_inbox_in_djangos_own_look(host, worker):
    shown = [line for line in host.shell(PAGES).splitlines() if line.startswith("page ")]
    assert len(shown) == 12
    assert {line.rsplit(" ", 1)[-1] for line in shown} == {"200"}


def test_the_admin_shows_a_saga_with_the_facts_of_its_domain(host):
    lines = host.shell(KIND).splitlines()
    assert "kind True 200 True" in lines
