"""Each setting that is unfit for production is an error, unless ALLOW_INSECURE names it."""

from typing import Any

import pytest

from config.checks import CONCESSIONS, check_deployment

LIMITS = {"read": 6_000, "write": 1_200, "orders": 1_200, "login": 60, "stranger": 600}
FIT: dict[str, Any] = {
    "ALLOWED_HOSTS": ["api.example.com"],
    "DEBUG": False,
    "HTTPS": True,
    "ALLOW_INSECURE": [],
    "PAYMENT_GATEWAY": "stripe",
    "STRIPE_API_KEY": "sk_live_" + "a1" * 12,
    "STRIPE_API_BASE": "https://api.stripe.com",
    "PAYMENT_RETURN_URL": "https://shop.example.com/paid/",
    "METRICS_TOKEN": "Sg7-xK2_" * 4,
    "TRUSTED_PROXIES": 1,
    "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
    "RATE_LIMITS": LIMITS,
    "SAGA_SIGNING_KEYS": ["Sg7-xK2_" * 8],
    "SERVED": ["orders", "payments", "inventory"],
}

FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"PAYMENT_GATEWAY": "simulated"}, "config.E001", "no money comes"),
    ({"STRIPE_API_KEY": "sk_test_123"}, "config.E002", "not a live key"),
    ({"STRIPE_API_KEY": "rk_test_123"}, "config.E002", "not a live key"),
    ({"STRIPE_API_BASE": "http://127.0.0.1:25111"}, "config.E003", "not Stripe"),
    ({"STRIPE_API_BASE": "http://api.stripe.com"}, "config.E003", "not Stripe"),
    ({"STRIPE_API_BASE": "https://stripe.example.com"}, "config.E003", "not Stripe"),
    ({"STRIPE_API_BASE": "https://api.stripe.com.evil.test"}, "config.E003", "not Stripe"),
    ({"METRICS_TOKEN": ""}, "config.E004", "/metrics"),
    ({"METRICS_TOKEN": "short"}, "config.E004", "/metrics"),
    ({"ALLOWED_HOSTS": ["*"]}, "config.E005", "'*'"),
    ({"ALLOWED_HOSTS": ["api.example.com", ".com"]}, "config.E005", "'.com'"),
    ({"ALLOWED_HOSTS": ["api.example.com", "."]}, "config.E005", "'.'"),
    ({"PAYMENT_RETURN_URL": "http://localhost:8000/"}, "config.E006", "localhost"),
    ({"PAYMENT_RETURN_URL": "https://127.0.0.1/"}, "config.E006", "127.0.0.1"),
    ({"PAYMENT_RETURN_URL": "http://shop.example.com/"}, "config.E006", "http://shop"),
    ({"PAYMENT_RETURN_URL": ""}, "config.E006", "''"),
    ({"DEBUG": True}, "config.E007", "DEBUG is on"),
    ({"DEBUG": True, "ALLOWED_HOSTS": ["localhost"]}, "config.E007", "DEBUG is on"),
    ({"HTTPS": False}, "config.E008", "passwords"),
    ({"RATE_LIMITS": {**LIMITS, "login": 0}}, "config.E009", "RATE_LIMIT_LOGINS is 0"),
    ({"RATE_LIMITS": {**LIMITS, "write": -1}}, "config.E009", "RATE_LIMIT_WRITES"),
    ({"RATE_LIMIT_ADDRESS_FACTOR": 0}, "config.E009", "RATE_LIMIT_ADDRESS_FACTOR"),
    ({"AXES_FAILURE_LIMIT": 0}, "config.E009", "LOGIN_FAILURES"),
    ({"TRUSTED_PROXIES": 0}, "config.E010", "TRUSTED_PROXIES is 0"),
    ({"SAGA_SIGNING_KEYS": ["Sg7-xK2_" * 8, "ab" * 30]}, "config.E011", "SAGA_SIGNING_KEYS"),
    ({"SAGA_LEASE_SECONDS": 20}, "config.E013", "SAGA_LEASE_SECONDS is 20"),
]


@pytest.fixture
def configure(settings, monkeypatch):
    """Use fit settings, with some changed; return what the checks find."""
    monkeypatch.delenv("FAILPOINTS", raising=False)

    def configure(**changed):
        for name, value in {**FIT, **changed}.items():
            setattr(settings, name, value)
        return check_deployment()

    return configure


def test_fit_settings_are_accepted(configure):
    assert configure() == []
    assert configure(PAYMENT_GATEWAY="acme.gateway.AcmeGateway", STRIPE_API_KEY="") == []
    assert configure(ALLOWED_HOSTS=[".example.com"], STRIPE_API_KEY="rk_live_1a") == []


@pytest.mark.parametrize(("changed", "id_", "says"), FAULTS)
def test_an_unfit_setting_is_an_error(configure, changed, id_, says):
    (found,) = configure(**changed)
    assert (found.id, found.is_serious()) == (id_, True)
    assert says in found.msg
    assert found.hint


@pytest.mark.parametrize(("changed", "id_", "says"), FAULTS)
def test_allow_insecure_accepts_the_fault_that_it_names_and_no_other(configure, changed, id_, says):
    names = {check: name for name, check in CONCESSIONS.items()}
    others = [name for name in CONCESSIONS if name != names.get(id_)]
    refused = [found for found in configure(**changed, ALLOW_INSECURE=others) if found.is_serious()]
    assert [found.id for found in refused] == [id_]

    if id_ in names:
        assert f"ALLOW_INSECURE={names[id_]}" in refused[0].hint
        (accepted,) = configure(**changed, ALLOW_INSECURE=[names[id_]])
        assert (accepted.id, accepted.is_serious()) == (id_.replace("E", "W"), False)
        assert repr(names[id_]) in accepted.msg
        assert says in accepted.msg
    else:
        assert "ALLOW_INSECURE" not in refused[0].hint


def test_a_concession_that_does_not_exist_or_is_not_needed_is_reported(configure):
    found = configure(ALLOW_INSECURE=["everything", "test-key"])
    assert [(one.id, one.is_serious()) for one in found] == [
        ("config.E020", True),
        ("config.W020", False),
    ]
    assert "simulated-gateway" in found[0].hint


def test_all_faults_are_reported_at_once(configure):
    found = configure(
        PAYMENT_GATEWAY="simulated", METRICS_TOKEN="", ALLOWED_HOSTS=["*"], HTTPS=False
    )
    assert {one.id for one in found} == {"config.E001", "config.E004", "config.E005", "config.E008"}


def test_failpoints_are_refused(configure, monkeypatch, tmp_path):
    configure()
    monkeypatch.setenv("FAILPOINTS", str(tmp_path))
    assert [found.id for found in check_deployment()] == ["config.E012"]


def test_a_service_for_this_machine_only_may_use_all_of_them(configure):
    unfit = {
        name: value
        for changed, id_, _ in FAULTS
        if id_ not in ("config.E005", "config.E007")
        for name, value in changed.items()
    }
    assert configure(**{**unfit, "ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]"]}) == []


@pytest.mark.parametrize(
    ("served", "gateway", "expected"),
    [
        (["inventory"], "simulated", []),
        (["orders"], "simulated", ["config.E001"]),  # whose check of prices asks the gateway
        (["payments"], "simulated", ["config.E001"]),
        (["orders", "inventory"], "stripe", []),
        (["payments"], "stripe", ["config.E002"]),
    ],
)
def test_a_process_that_serves_no_payments_needs_no_key(configure, served, gateway, expected):
    found = configure(SERVED=served, PAYMENT_GATEWAY=gateway, STRIPE_API_KEY="sk_test_1")
    assert [one.id for one in found] == expected
