"""Debian's Chromium before the real system. Where there is none these tests fail: they were
asked for by name.
"""

import os
import shutil
from pathlib import Path

import pytest
from django.conf import global_settings
from django.contrib.auth.models import Group
from playwright.sync_api import BrowserContext, expect, sync_playwright

from tests import processes
from tests.integration.payments.stripe_harness import use_stripe
from tests.sandbox.process import running
from tests.system.conftest import shipping_fails
from tests.system.harness import QUICK, shop

__all__ = ["shipping_fails", "shop"]

PASSWORD = "an-operator-of-the-tests"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium(django_db_setup):
    """The browser, for the whole session. Its loop runs in the tests' thread, in which they ask
    the database, too.
    """
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail("There is no Chromium here. Install it: apt-get install chromium")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        expect.set_options(timeout=30_000)
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def site():
    """The address of the API and the console, as a process of its own, under the settings of
    production.
    """
    with processes.api(environ={**QUICK, "DJANGO_SETTINGS_MODULE": "config.settings"}) as (
        address,
        _,
    ):
        yield address


@pytest.fixture
def log_in(chromium, site, django_user_model, settings):
    """Open the console as a new member of a group, on a screen of some size; what the browser
    complains of fails.
    """
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS  # as the console reads them
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def logged_in(group, *, scheme="light", width=1300):
        person = django_user_model.objects.create_user(
            f"{group}-{len(contexts)}", password=PASSWORD, is_staff=True
        )
        person.groups.add(Group.objects.get(name=group))
        context = chromium.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 800}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda said: complaints.append(said.text) if said.type == "error" else None
        )
        page.goto(f"{site}/admin/login/")
        page.get_by_label("Username").fill(person.username)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "login" not in url)
        return page

    yield logged_in
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def provider(settings):
    """A payment provider that fails on demand: the sandbox, through Stripe's client."""
    with running("--settle-seconds", "1") as sandbox:
        use_stripe(settings, sandbox)
        yield sandbox


@pytest.fixture
def photograph():
    """Keep a picture of a page, in light and in dark as the theme makes it, where SCREENSHOTS
    names a folder.
    """

    def taken(page, name):
        if folder := os.environ.get("SCREENSHOTS"):
            page.wait_for_load_state("networkidle")  # the fonts are there
            for dark, suffix in ((True, "-dark"), (False, "")):
                page.evaluate(
                    "dark => document.documentElement.classList.toggle('dark', dark)", dark
                )
                page.screenshot(path=Path(folder) / f"{name}{suffix}.png")

    return taken
