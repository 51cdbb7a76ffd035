"""The links of facts lead to pages alone, because an address may come from a row."""

import pytest

from sagas.admin.facts import fact_in_html
from sagas.ids import uuid7
from sagas.kinds import Fact, Money, SagaLink


@pytest.mark.parametrize("address", ["/admin/", "https://stripe.test/pi_1", "http://crm.test/?a=1"])
def test_a_fact_with_the_address_of_a_page_is_a_link(address):
    shown = fact_in_html(Fact("payment", "pi_1", address))
    assert shown == f'<a class="underline" href="{address}">pi_1</a>'


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "http://[broken",
    ],
)
def test_a_fact_with_another_address_is_text(address):
    assert fact_in_html(Fact("payment", "<pi_1>", address)) == "&lt;pi_1&gt;"


def test_a_fact_that_links_to_a_saga_is_text_without_the_rights_of_a_viewer():
    fact = Fact("refund", Money(1_250, "eur"), SagaLink("returns", uuid7()))
    assert fact_in_html(fact) == "12.50 EUR"
