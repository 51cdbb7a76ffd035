"""An operator in a real browser finds stuck orders, retries them, and sees them end."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from console.models import Run
from orders.models import Order
from payments.models import Inbox
from tests.processes import until, worker
from tests.sandbox.process import API_KEY, SECRET
from tests.shop import FURTHER
from tests.system.harness import QUICK, assert_sound, ended, order, system

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.browser,
]

IMPATIENT = {**QUICK, "SAGA_STEP_ATTEMPTS": "1"}
AT_STRIPE = {
    "PAYMENT_GATEWAY": "stripe",
    "STRIPE_API_KEY": API_KEY,
    "STRIPE_WEBHOOK_SECRET": SECRET,
}
LONG = 60_000  # milliseconds that a page may take to show what workers do


def stuck(client, number):
    """Place orders that cannot be shipped, and wait until a person is told.

    Others are shipped, so the failures are faults of their orders: the step goes on.
    """
    placed = [order(client, f"stuck-{one}", quantity=7) for one in range(number)]
    for one in range(5 * number):
        order(client, f"shipped-{one}")
    until(
        lambda: Order.objects.filter(needs_attention=True).count() == number, "all need attention"
    )
    return placed


def test_an_operator_finds_the_order_that_needs_attention_retries_it_and_sees_it_end(
    log_in, api_client, shipping_fails, photograph
):
    with system(IMPATIENT):
        for one in range(8):
            order(api_client, f"declined-{one}", method="pm_card_chargeDeclined")
        [placed] = stuck(api_client, 1)
        page = log_in("operator")
        expect(page.get_by_role("link", name=re.compile("Need attention"))).to_be_visible()
        expect(page.get_by_role("row", name=re.compile(r"^payments 1 \d+ .* ago$"))).to_be_visible(
            timeout=LONG
        )
        photograph(page, "start")
        page.get_by_role("link", name=re.compile("shopping_cart")).click()
        page.locator("#tab-attention").click()
        page.get_by_role("link", name=placed).click()
        expect(page.get_by_role("alert")).to_contain_text("inventory.ship says")
        expect(page.get_by_role("img", name="The diagram of this saga")).to_be_visible()
        expect(page.locator("pre.long").first).to_contain_text('violates check constraint "broken"')
        photograph(page, "order")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export as JSON").click()
        exported = json.loads(Path(download.value.path()).read_text())
        assert exported["order"]["id"] == placed
        assert "in ship" in exported["failed_tasks"][0]["traceback"]
        page.get_by_role("button", name="Try again now").click()
        expect(page.get_by_text("Attempts due now")).to_be_visible()
        shipping_fails()
        page.get_by_role("textbox", name="Why?").fill("The table is mended.")
        page.get_by_role("button", name="Try again now: 1 order").click()
        expect(page.get_by_role("heading", name=re.compile("^Ended"))).to_be_visible(timeout=LONG)
        expect(page.get_by_text(re.compile("made due now|No step is waiting"))).to_be_visible()
        until(lambda: ended(placed), "the order has ended")
        page.get_by_role("link", name=placed).click()
        expect(page.get_by_text("Ended after")).to_be_visible()
        expect(page.get_by_text("The table is mended.").first).to_be_visible()
    assert_sound()


def test_ten_orders_that_fail_alike_are_found_as_one_failure_and_end_after_a_retry_in_bulk(
    log_in, api_client, shipping_fails, photograph
):
    with system(IMPATIENT):
        placed = stuck(api_client, 10)
        page = log_in("operator")
        page.get_by_role("link", name="Failures").click()
        expect(page.get_by_role("link", name="10 orders")).to_be_visible()
        photograph(page, "failures")
        page.get_by_role("link", name="10 orders").click()
        page.locator("thead input[type=checkbox]").check()
        page.get_by_role("combobox").last.select_option(label="Try again now")
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_text("Preview: the impact")).to_be_visible()
        photograph(page, "preview")
        shipping_fails()
        page.get_by_role("textbox", name="Why?").fill("Shipping works again.")
        page.get_by_role("button", name="Try again now: 10 orders").click()
        expect(page.get_by_role("heading", name=re.compile("^Ended"))).to_be_visible(timeout=LONG)
        expect(page.get_by_text("made due now").first).to_be_visible()
        until(lambda: ended(*placed), "all ten have ended")
        photograph(page, "run")
        page.get_by_role("link", name="Failures").click()
        expect(page.get_by_text("No step fails.")).to_be_visible()
    assert_sound()


def test_ten_orders_that_a_failing_gateway_holds_up_wait_without_alarm_and_end_once_it_answers(
    log_in, site, api_client, provider, photograph
):
    # The first order may fail before the second is placed. That costs it an attempt of its own.
    provider.fault("payment_intents.*", "500_lost", times=None)
    with system(QUICK | AT_STRIPE | {"STRIPE_API_BASE": provider.url}):
        placed = [order(api_client, f"charged-late-{one}") for one in range(10)]
        until(
            lambda: Inbox.objects.filter(state="held").count() >= 9, "all but the probe are on hold"
        )
        page = log_in("operator")
        expect(
            page.get_by_text("Calls of payments.charge to stripe are on hold by themselves").first
        ).to_be_visible()
        page.goto(f"{site}/admin/holds/")
        expect(
            page.get_by_role("row", name=re.compile("^(calls of )?payments.charge .* automatic"))
        ).to_be_visible()
        page.goto(f"{site}/admin/failures/")
        expect(page.get_by_role("link", name="10 orders")).to_be_visible(timeout=LONG)
        page.get_by_role("link", name="Past runs against this failure").first.click()
        expect(page.get_by_text("No run yet.")).to_be_visible()
        photograph(page, "failure")
        assert not Order.objects.filter(needs_attention=True).exists()
        provider.http.delete("/sandbox/faults")
        until(lambda: ended(*placed), "all ten have ended")
    assert set(Order.objects.values_list("status", flat=True)) == {"fulfilled"}


def test_the_preview_of_a_cancel_says_what_is_refunded_and_nothing_happens_before_it_is_confirmed(
    log_in, site, api_client
):
    with worker("orders", "payments", *FURTHER, environ=QUICK):
        placed = [order(api_client, f"paid-{one}") for one in range(3)]
        until(lambda: Order.objects.filter(status="paid").count() == 3, "all three are paid")
        page = log_in("operator")
        page.goto(f"{site}/admin/orders/order/")
        page.locator("thead input[type=checkbox]").check()
        page.get_by_role("combobox").last.select_option(label="Cancel and undo")
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_text("30.00 EUR").first).to_be_visible()
        assert Run.objects.get().state == "draft"
        page.get_by_role("textbox", name="Why?").fill("Wrong price in the catalogue.")
        page.get_by_role("button", name="Cancel and undo: 3 orders").click()
        expect(page.get_by_text("Cancelling:").first).to_be_visible(timeout=LONG)
        expect(page.get_by_role("heading", name=re.compile("^Ended"))).to_be_visible(timeout=LONG)
    assert set(Order.objects.filter(id__in=placed).values_list("status", flat=True)) == {
        "cancelling"
    }


def test_a_viewer_sees_the_order_and_is_offered_nothing_to_do_to_it(log_in, site, api_client):
    placed = order(api_client, "looked-at")
    page = log_in("viewer")
    page.goto(f"{site}/admin/orders/order/{placed}/change/")
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel and undo")).to_have_count(0)
    token = page.locator("input[name=csrfmiddlewaretoken]").first.input_value()
    form = {"action": "cancel", "csrfmiddlewaretoken": token}
    answer = page.request.post(
        f"{site}/admin/orders/order/{placed}/act/", form=form, headers={"Referer": site}
    )
    assert answer.status == 403
    assert not Run.objects.exists()


def test_the_start_page_renews_itself_and_fits_a_phone(log_in, api_client, photograph):
    page = log_in("viewer", width=390)
    expect(page.get_by_text("every order has ended")).to_be_visible()
    order(api_client, "seen-live")
    expect(page.get_by_role("link", name="1 pending")).to_be_visible(timeout=LONG)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    photograph(page, "phone")


@pytest.mark.parametrize(
    "address", ["failures/", "orders/order/?show=all", "payments/inbox/", "orders/outbox/"]
)
def test_a_page_fits_a_phone(log_in, site, api_client, address):
    order(api_client, "seen-small")
    page = log_in("viewer", width=390)
    page.goto(f"{site}/admin/{address}")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_an_order_fits_a_phone(log_in, site, api_client, photograph):
    placed = order(api_client, "seen-small")
    page = log_in("viewer", width=390)
    page.goto(f"{site}/admin/orders/order/{placed}/change/")
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    photograph(page, "order-phone")
