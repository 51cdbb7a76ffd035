"""With DEBUG off the service is safe by default, or it refuses to start."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from csp.constants import HEADER
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.integration.orders import harness
from tests.processes import ROOT, environment
from tests.production import PRODUCTION, SECRET

pytestmark = [pytest.mark.slow, pytest.mark.django_db(databases="__all__")]


def manage(*arguments, **variables):
    """Run a management command with production settings, on the servers of this test."""
    environ = {**environment(), **PRODUCTION, **variables}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_djangos_check_of_a_deployment_finds_nothing():
    checked = manage("check", "--deploy", "--fail-level", "WARNING")
    assert (checked.returncode, checked.stdout) == (
        0,
        "System check identified no issues (0 silenced).\n",
    )


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is not fit for production"),
        ({"SECRET_KEY": "a" * 60}, "SECRET_KEY is not fit for production"),
        ({"SECRET_KEY": f"django-insecure-{SECRET}"}, "SECRET_KEY is not fit for production"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is not set"),
        ({"SAGA_SIGNING_KEYS": f"{SECRET},short"}, "SAGA_SIGNING_KEYS is shorter than 32"),
        ({"DEBUG": "on", "SECRET_KEY": ""}, "SECRET_KEY is not set"),
    ],
)
def test_it_refuses_to_start_and_says_what_is_missing(variables, says):
    started = manage("check", **variables)
    assert started.returncode != 0
    assert "ImproperlyConfigured" in started.stderr
    assert says in started.stderr
    assert SECRET not in started.stderr


def test_a_service_for_this_machine_only_needs_neither_a_long_key_nor_https():
    asked = "from django.conf import settings; print(settings.HTTPS, settings.DEBUG)"
    started = manage(
        "shell",
        "--verbosity",
        "0",
        "-c",
        asked,
        ALLOWED_HOSTS="localhost,127.0.0.1",
        SECRET_KEY="short",
    )
    assert started.stdout == "False False\n"


@pytest.fixture
def https(settings):
    """Use those production settings that a test can change while it runs."""
    for name in ("SECURE_SSL_REDIRECT", "SECURE_HSTS_INCLUDE_SUBDOMAINS", "SECURE_HSTS_PRELOAD"):
        setattr(settings, name, True)
    settings.SECURE_HSTS_SECONDS = 365 * 24 * 3600
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True


def test_plain_http_is_redirected_to_https_except_for_health(https):
    for path in (harness.ORDERS, "/admin/", "/api/v1/docs/"):
        answer = Client().get(path)
        assert (answer.status_code, answer.headers["Location"]) == (
            301,
            f"https://testserver{path}",
        )
    assert Client().get("/healthz").status_code == 200
    assert Client().get("/healthz/x").status_code == 301


def test_the_proxys_https_header_is_trusted_only_if_configured(https, settings):
    ask = lambda: Client().get(harness.ORDERS, headers={"X-Forwarded-Proto": "https"}).status_code  # noqa: E731
    assert ask() == 301
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert ask() == 401


def test_https_responses_have_the_security_headers(https):
    answer = Client().get("/admin/login/", secure=True)
    assert (
        answer.headers["Strict-Transport-Security"]
        == "max-age=31536000; includeSubDomains; preload"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    cookie = answer.cookies["csrftoken"]
    assert (cookie["secure"], cookie["httponly"]) == (True, True)


class Inline(HTMLParser):
    """Collects the parts of a page that its policy forbids.

    These are inline scripts, styles and handlers, and files from other hosts.
    """

    def __init__(self):
        super().__init__()
        self.forbidden = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "style" or (
            tag == "script"
            and "src" not in attributes
            and attributes.get("type") != "application/json"
        ):
            self.forbidden.append(tag)
        self.forbidden += [
            f"{tag} {name}" for name in attributes if name == "style" or name.startswith("on")
        ]
        self.forbidden += [
            f"{tag} {name}={attributes[name]}"
            for name in ("src", "href", "action")
            if attributes.get(name)
            and re.match(r"(?:[a-z]+:)?//|javascript:|data:text", attributes[name])
            and tag != "a"
        ]


def pages():
    """Return a page of every kind in the admin, and Swagger's."""
    placed = harness.order(of="ada")
    product = harness.stocked()
    return [
        "/admin/",
        "/admin/password_change/",
        reverse("admin:orders_order_changelist"),
        reverse("admin:orders_order_change", args=[placed.id]),
        reverse("admin:orders_product_changelist"),
        reverse("admin:orders_product_add"),
        reverse("admin:orders_product_change", args=[product.pk]),
        reverse("admin:orders_outbox_changelist"),
        reverse("admin:payments_payment_changelist"),
        reverse("admin:inventory_stockadjustment_add"),
        reverse("admin:auth_user_add"),
        reverse("admin:auth_group_add"),
        "/api/v1/docs/",
    ]


def test_no_page_violates_the_content_security_policy(client):
    found = {"/admin/login/": client.get("/admin/login/")}
    client.force_login(User.objects.create_superuser("olga"))
    found |= {path: client.get(path) for path in pages()}
    for path, answer in found.items():
        page = Inline()
        page.feed(answer.content.decode())
        directives = dict(part.strip().split(" ", 1) for part in answer.headers[HEADER].split(";"))
        assert (answer.status_code, directives["default-src"]) == (200, "'self'"), path
        if path.startswith("/admin/"):  # whose theme has inline styles, and evaluates expressions
            assert directives["script-src"] == "'self' 'unsafe-eval'", path
            assert {one for one in page.forbidden if "style" not in one} == set(), path
        else:
            assert page.forbidden == [], path
            assert "unsafe" not in answer.headers[HEADER], path


def test_swaggers_page_loads_its_own_script(client):
    page = client.get("/api/v1/docs/").content.decode()
    scripts = re.findall(r'<script src="([^"]+)"', page)
    assert len(scripts) == 3
    started = client.get(scripts[-1])
    assert started.headers["Content-Type"] == "application/javascript"
    assert "SwaggerUIBundle" in started.content.decode()
