"""The request id: the client's own if it is valid, in the response, the outbox and the logs."""

import io
import json
import logging.config

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from config.logs import logging_config
from inventory.services import adjust_stock
from orders.models import Outbox, Product
from sagas.observability.instrumentation import log_ids
from tests.system.harness import order_body

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def logged():
    """Return the log lines, decoded from JSON."""
    output = io.StringIO()
    config = logging_config(level="INFO", style="json")
    config["handlers"]["stderr"]["stream"] = output
    logging.config.dictConfig(config)
    yield lambda: [json.loads(line) for line in output.getvalue().splitlines()]
    logging.config.dictConfig(settings.LOGGING)


@pytest.fixture
def mugs():
    Product.objects.create(sku="MUG", name="Mug", unit_amount=1_000, currency="eur")
    adjust_stock(sku="MUG", quantity=10, reason="delivery", by="tests")


@pytest.mark.parametrize(
    "given", ["7", "0189-af", "Root=1-5759e988-bd862e3fe1be46a994272793", "x" * 128]
)
def test_a_sane_id_is_kept(http, given):
    assert http.get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given", ["", " ", "two words", "x" * 129, "a\nb", 'a"b', "é", "{}", "%s", "\x00"]
)
def test_any_other_is_replaced(http, given):
    answered = http.get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"]
    assert answered != given
    assert len(answered) == 36


def test_each_request_gets_its_own(http):
    assert http.get("/healthz")["X-Request-ID"] != http.get("/healthz")["X-Request-ID"]


@pytest.mark.parametrize("path", ["/api/v1/orders/", "/api/v1/nothing/", "/nothing"])
def test_an_error_has_its_id_as_well(http, path):
    assert http.get(path, headers={"X-Request-ID": "mine"})["X-Request-ID"] == "mine"


def test_the_order_and_its_cancel_each_keep_the_id_of_their_request(ada_http, mugs):
    wanted = {
        "content_type": "application/json",
        "headers": {"Idempotency-Key": "k", "X-Request-ID": "placing"},
    }
    placed = ada_http.post("/api/v1/orders/", order_body(), **wanted).json()["id"]
    ada_http.post(f"/api/v1/orders/{placed}/cancel/", headers={"X-Request-ID": "cancelling"})
    headers = dict(Outbox.objects.filter(saga=placed).values_list("type", "headers"))
    assert headers["order.created"]["request_id"] == "placing"
    assert headers["order.cancelling"]["request_id"] == "cancelling"


def test_a_line_names_the_request_and_no_secret(http, logged):
    http.post(
        "/api/v1/auth/token/?password=in-the-query",
        {"username": "ada", "password": "hunter2"},
        content_type="application/json",
        headers={"X-Request-ID": "mine", "Authorization": "Bearer abcdef"},
    )
    lines = logged()
    assert [line for line in lines if line.get("request_id") == "mine"]
    assert not [
        line
        for line in lines
        for secret in ("hunter2", "abcdef", "in-the-query")
        if secret in str(line)
    ]


def test_an_error_is_one_line_with_its_traceback(logged):
    try:
        int("of this")
    except ValueError:
        logging.getLogger("sagas.execution.runner").exception("%s went wrong", "it")
    [line] = logged()
    assert (line["event"], line["level"], line["logger"]) == (
        "it went wrong",
        "error",
        "sagas.execution.runner",
    )
    assert "ValueError: invalid literal" in line["exception"]


def test_a_line_about_a_batch_names_its_sagas_up_to_a_limit():
    named = log_ids((str(number), {"request_id": f"r{number % 2}"}) for number in range(1_000))
    assert len(named["sagas"]) == 20
    assert named["request_ids"] == ["r0", "r1"]


def test_an_unknown_format_or_level_is_refused():
    with pytest.raises(ImproperlyConfigured, match="LOG_FORMAT is 'xml'"):
        logging_config(level="INFO", style="xml")
    with pytest.raises(ImproperlyConfigured, match="LOG_LEVEL is 'LOUD'"):
        logging_config(level="LOUD", style="json")


def test_for_a_terminal_lines_are_for_people():
    output = io.StringIO()
    config = logging_config(level="INFO", style="console")
    config["handlers"]["stderr"]["stream"] = output
    logging.config.dictConfig(config)
    logging.getLogger("sagas").warning("for %s", "people")
    logging.config.dictConfig(settings.LOGGING)
    assert "for people" in output.getvalue()
    assert not output.getvalue().startswith("{")
