"""`doctor` looks at the service from outside: gateway, metrics, proxies, settings, grace period."""

import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from django.test import Client

from doctor.seen import new_nonce
from tests.integration.doctor.harness import PUBLIC, RIGHT, certificate, doctor, wrong
from tests.processes import api
from tools.local.ports import free_port
from tools.local.rundir import RunDir
from tools.local.sandbox import PaymentSandbox

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

WEBHOOKS = "https://api.example.com/api/v1/payments/webhooks/stripe/"


@contextmanager
def served(answer, *, tls=None):
    """Answer GET requests with `answer(path, headers, address)`; yield the server's port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = answer(self.path, self.headers, self.client_address[0])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def proxy(upstream):
    """Return an answer that forwards requests as a proxy does that ends TLS."""

    def forward(path, headers, address):
        seen = headers.get("X-Forwarded-For")
        sent = {
            "Host": headers["Host"],
            "X-Forwarded-For": f"{seen}, {address}" if seen else address,
            "X-Forwarded-Proto": "https",
        }
        answer = httpx.get(f"{upstream}{path}", headers=sent, trust_env=False)
        kept = {name: answer.headers[name] for name in ("Location",) if name in answer.headers}
        return answer.status_code, kept, answer.content

    return forward


# --- The address of the client --------------------------------------------------------------------


@contextmanager
def behind_a_proxy(folder, **variables):
    """Run the API behind a proxy with TLS; yield a function that runs `doctor` against it."""
    public, key = certificate(folder, "127.0.0.1")
    # Gunicorn itself believes a proxy on this machine. The proxy stands for one on another machine.
    elsewhere = {"FORWARDED_ALLOW_IPS": "192.0.2.1"}
    environ = {**RIGHT, "HTTPS": "on", **elsewhere, **variables}
    with (
        api(environ=environ) as (upstream, _),
        served(proxy(upstream), tls=(public, key)) as port,
    ):
        url = ("--url", f"https://localhost:{port}", "--only", "client-address")
        yield lambda *more: doctor(*url, *more, environ={**environ, "SSL_CERT_FILE": str(public)})


@wrong("client-address")
def test_a_proxy_that_is_not_trusted_hides_every_client(tmp_path):
    with behind_a_proxy(tmp_path, PROXY_SSL_HEADER="X-Forwarded-Proto") as look:
        found = look()
    assert found.code == 1
    (line,) = found.faults
    assert "all clients count as 127.0.0.1: 1 proxies add to X-Forwarded-For" in line
    assert "Set TRUSTED_PROXIES=1." in line


@wrong("client-address")
def test_a_proxy_too_many_lets_clients_forge_their_address(tmp_path):
    variables = {"TRUSTED_PROXIES": "2", "PROXY_SSL_HEADER": "X-Forwarded-Proto"}
    with behind_a_proxy(tmp_path, **variables) as look:
        found = look()
    assert found.code == 1
    (line,) = found.faults
    assert "client address: forged" in line
    assert "Set TRUSTED_PROXIES=1." in line


@wrong("client-address")
def test_a_proxy_whose_https_is_taken_for_http(tmp_path):
    with behind_a_proxy(tmp_path, TRUSTED_PROXIES="1") as look:
        found = look()
    assert found.code == 1
    (line,) = found.faults
    assert "redirects https to https without end" in line
    assert "Set PROXY_SSL_HEADER" in line


def test_a_right_proxy_and_metrics_with_a_token(tmp_path):
    variables = {
        "TRUSTED_PROXIES": "1",
        "PROXY_SSL_HEADER": "X-Forwarded-Proto",
        "METRICS_TOKEN": "a long secret of Prometheus",
    }
    with behind_a_proxy(tmp_path, **variables) as look:
        found = look("--only", "metrics")
    assert (found.code, found.faults, found.unknown) == (0, [], [])
    lines = " ".join(found.proved)
    assert "this host is seen as 127.0.0.1, through 1 proxies" in lines
    assert "https arrives as https" in lines
    assert "/metrics is refused without a token: 401" in lines


@wrong("client-address")
def test_another_service_at_the_address():
    with served(lambda *_: (200, {}, b"hello")) as port:
        found = doctor("--only", "client-address", "--url", f"http://localhost:{port}")
    assert found.code == 1
    assert "answers 200, not as this service does" in found.faults[0]


def test_a_service_that_others_reach_needs_the_url():
    found = doctor("--only", "client-address", environ=PUBLIC)
    assert found.code == 1
    assert "--url https://api.example.com" in found.unknown[0]
    assert (
        doctor("--only", "client-address", "--accept", "client-address", environ=PUBLIC).code == 0
    )


def test_each_nonce_is_answered_once():
    nonce, client = new_nonce(), Client(REMOTE_ADDR="198.51.100.9")
    answer = client.get(f"/doctor/{nonce}/", secure=True)
    assert (answer.status_code, answer.json()) == (
        200,
        {"client": "198.51.100.9", "forwarded": 0, "secure": True},
    )
    assert client.get(f"/doctor/{nonce}/").status_code == 404
    assert client.get("/doctor/guessed/").status_code == 404


# --- Metrics --------------------------------------------------------------------------------------


@wrong("metrics")
def test_metrics_without_a_token():
    found = doctor("--only", "metrics", environ=PUBLIC)
    assert found.code == 1
    assert "/metrics: open, because METRICS_TOKEN is not set" in found.faults[0]


@wrong("metrics")
def test_metrics_that_answer_without_the_token():
    with api(environ=RIGHT) as (address, _):
        environ = {"METRICS_TOKEN": "set here, but not for the API"}
        found = doctor("--only", "metrics", "--url", address, environ=environ)
    assert found.code == 1
    assert f"{address}/metrics answers without a token" in found.faults[0]


# --- The gateway ----------------------------------------------------------------------------------


@wrong("gateway")
def test_a_simulated_gateway():
    found = doctor("--only", "gateway", environ={**PUBLIC, "PAYMENT_GATEWAY": "simulated"})
    assert found.code == 1
    assert "simulated, so goods leave and no money comes" in found.faults[0]


@wrong("gateway")
def test_a_gateway_in_test_mode_and_a_key_that_it_refuses(tmp_path):
    sandbox = PaymentSandbox(RunDir(tmp_path), free_port())
    sandbox.start()
    try:
        found = doctor("--only", "gateway", environ={**PUBLIC, **sandbox.env})
        assert "Stripe, in test mode, so no money comes" in found.faults[0]

        refused = {**sandbox.env, "STRIPE_API_KEY": "sk_test_of_another_account"}
        found = doctor("--only", "gateway", environ={**PUBLIC, **refused})
        assert "Stripe refuses the key" in found.faults[0]
        assert "sk_test_of_another_account" not in str(found)
    finally:
        sandbox.stop()


def account(*urls):
    """Answer as an account in live mode with these webhook endpoints."""
    endpoints = [
        {"id": f"we_{number}", "object": "webhook_endpoint", "url": url, "status": "enabled"}
        for number, url in enumerate(urls)
    ]
    objects = {
        "/v1/balance": {"object": "balance", "livemode": True, "available": [], "pending": []},
        "/v1/webhook_endpoints": {"object": "list", "data": endpoints, "has_more": False},
    }

    def answer(path, headers, address):
        body = json.dumps(objects[path.partition("?")[0]]).encode()
        return 200, {"Content-Type": "application/json"}, body

    return answer


def live(port, **variables):
    return {
        **PUBLIC,
        "PAYMENT_GATEWAY": "stripe",
        "STRIPE_API_BASE": f"http://127.0.0.1:{port}",
        "STRIPE_API_KEY": "sk_live_of_the_shop",
        "STRIPE_WEBHOOK_SECRET": "whsec_of_the_shop",
        **variables,
    }


@wrong("gateway")
def test_a_live_account_without_our_webhook_endpoint_or_secret():
    with served(account("https://other.example.com/hook")) as port:
        found = doctor("--only", "gateway", environ=live(port))
        without = doctor("--only", "gateway", environ=live(port, STRIPE_WEBHOOK_SECRET=""))
    assert "no enabled webhook endpoint ends with /api/v1/payments/webhooks" in found.faults[0]
    assert "STRIPE_WEBHOOK_SECRET is not set" in without.faults[0]


def test_a_live_account_with_our_webhook_endpoint():
    with served(account(WEBHOOKS)) as port:
        found = doctor("--only", "gateway", environ=live(port))
    assert (found.code, found.faults, found.unknown) == (0, [], [])
    assert "payment gateway: Stripe, in live mode | " in found.proved


# --- The grace period and the settings ------------------------------------------------------------


@wrong("grace-period")
def test_a_grace_period_below_the_limit_of_a_task():
    found = doctor("--only", "grace-period", "--grace-seconds", "30")
    assert found.code == 1
    (line,) = found.faults
    assert "grace period: 30 s is not above the 50 s of a task (TASK_TIME_LIMIT)" in line


def test_a_grace_period_that_is_not_given_is_unknown():
    found = doctor("--only", "grace-period", environ={"STOP_GRACE_SECONDS": "0"})
    assert "--grace-seconds, or STOP_GRACE_SECONDS" in found.unknown[0]


@wrong("settings")
def test_settings_that_a_check_refuses():
    environ = {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": "", "STRIPE_WEBHOOK_SECRET": "whsec"}
    found = doctor("--only", "settings", environ=environ)
    assert found.code == 1
    assert "settings: payments.E002: STRIPE_API_KEY is not set." in found.faults[0]
