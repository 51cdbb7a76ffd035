"""Access checks, the format of requests, and the marks that identify the sandbox."""

import socket
from typing import Any

import httpx
import pytest
import stripe

from tests.sandbox.process import API_KEY, Sandbox
from tools.local.ports import HOST

INTENTS = "/v1/payment_intents"
BEARER = {"Authorization": f"Bearer {API_KEY}"}


def test_every_response_identifies_the_sandbox(sandbox: Sandbox) -> None:
    for path in ("/", INTENTS, "/v1/nowhere", "/sandbox/ledger", "/nowhere", "//[nowhere"):
        assert sandbox.http.get(path).headers["X-Sandbox"] == "true"

    assert sandbox.http.put("/").headers["X-Sandbox"] == "true"
    assert "This is a sandbox. No money moves" in sandbox.http.get("/").text
    assert "SANDBOX: no money moves here" in sandbox.log.read_text()
    assert sandbox.create().livemode is False


@pytest.mark.parametrize(
    "key", ["sk_test_of_somebody_else", "sk_live_1234", "rubbish", API_KEY + " "]
)
def test_a_wrong_key_is_a_401_in_stripes_shape(sandbox: Sandbox, key: str) -> None:
    client = stripe.StripeClient(key, base_addresses={"api": sandbox.url}, max_network_retries=0)
    if key.strip() == API_KEY:
        client.v1.payment_intents.list()
        return

    with pytest.raises(stripe.AuthenticationError) as refused:
        client.v1.payment_intents.list()

    assert refused.value.http_status == 401
    assert refused.value.request_id
    assert key not in str(refused.value)


def test_basic_authentication_is_accepted_and_a_request_without_a_key_is_refused(
    sandbox: Sandbox,
) -> None:
    assert sandbox.http.get(INTENTS, auth=(API_KEY, "")).status_code == 200
    assert sandbox.http.get(INTENTS, headers={"Authorization": "Basic rubbish"}).status_code == 401
    assert sandbox.http.get(INTENTS).status_code == 401


def test_a_valid_version_is_echoed_and_an_invalid_version_is_refused(sandbox: Sandbox) -> None:
    response = sandbox.http.get(INTENTS, headers=BEARER | {"Stripe-Version": "2024-06-20"})
    assert (response.status_code, response.headers["Stripe-Version"]) == (200, "2024-06-20")
    assert (
        sandbox.http.get(INTENTS, headers=BEARER | {"Stripe-Version": "yesterday"}).status_code
        == 400
    )


HOSTILE: list[dict[str, Any]] = [
    {"content": b'{"amount": 1250}', "headers": {"Content-Type": "application/json"}},
    {
        "content": b"amount=\xff\xfe",
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    },
    {"data": {"amount": "%00", "currency": "eur"}},
    {"data": {"amount[": "1"}},
    {"data": {"amount[a]": "1", "amount": "2"}},
    {"data": {"amount": "2", "amount[a]": "1"}},
    {"data": {"a" + "[b]" * 50: "1"}},
    {"data": {f"k{number}": "v" for number in range(2000)}},
    {"data": {"amount": "9" * 400, "currency": "eur"}},
    {"data": {"amount": "१२५०", "currency": "eur"}},
    {"data": {"amount": "1250", "currency": "eur", "metadata[order_id][x]": "1"}},
    {"data": {"amount": "1250", "currency": "eur", "expand[]": "latest_charge." * 9}},
    {"data": {"amount": "1250", "currency": "eur", "expand": "latest_charge"}},
    {"data": {"amount": "1250", "currency": "eur", f"expand[{'9' * 5000}]": "latest_charge"}},
    {"data": {"amount": "1250", "currency": "eur", "automatic_payment_methods[enabled]": "maybe"}},
]


@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_input_is_refused_with_a_400(sandbox: Sandbox, body: dict[str, Any]) -> None:
    headers = BEARER | body.get("headers", {})
    answer = sandbox.http.post(INTENTS, **(body | {"headers": headers}))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "starting_after=pi_nowhere",
        "created=x",
        "created[gt]=x",
        "created[x]=1",
        "a=b",
    ],
)
def test_a_list_reads_its_parameters_strictly(sandbox: Sandbox, query: str) -> None:
    assert sandbox.http.get(f"{INTENTS}?{query}", headers=BEARER).status_code == 400


def test_an_unknown_path_or_method_is_a_404(sandbox: Sandbox) -> None:
    assert sandbox.http.get("/v1/customers", headers=BEARER).status_code == 404
    assert sandbox.http.delete(INTENTS, headers=BEARER).status_code == 404
    assert sandbox.http.get("/sandbox/nowhere").status_code == 404


def test_a_body_that_is_too_large_or_has_no_length_is_refused(sandbox: Sandbox) -> None:
    assert sandbox.http.post(INTENTS, content=b"x" * 1_000_001, headers=BEARER).status_code == 413
    with socket.create_connection((HOST, sandbox.port), 10) as connection:
        connection.sendall(
            b"POST /v1/payment_intents HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_connection_is_kept_for_the_next_request(sandbox: Sandbox) -> None:
    with httpx.Client(
        base_url=sandbox.url, trust_env=False, limits=httpx.Limits(max_connections=1)
    ) as client:
        sockets = {
            client.get("/sandbox/health").extensions["network_stream"].get_extra_info("client_addr")
            for _ in range(3)
        }

    assert len(sockets) == 1
