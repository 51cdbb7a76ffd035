"""Malformed and unknown ids in the admin and the console: never a server error."""

from typing import Any

import pytest
from django.contrib import admin
from django.db import connections, transaction
from django.test import Client
from django.urls import reverse

from sagas.ids import uuid7
from tests.integration.roles.roles import admin_client
from tests.integration.roles.test_admin import ACTIONS, PATTERNS, label, url

pytestmark = [pytest.mark.slow, pytest.mark.django_db(databases="__all__")]

IDS = (
    "abc",
    "a\0b",
    "9" * 30,
    "-1",
    "0",
    "",
    "١٢٣",
    "1e5",
    "' OR 1=1 --",
    str(uuid7()),
    "x" * 10_000,
)


@pytest.fixture
def root():
    """The client of a superuser, which raises an error of the server."""
    return admin_client("superuser")


MODELS = sorted(admin.site._registry, key=label)


@pytest.mark.parametrize("model", MODELS, ids=label)
def test_an_action_on_malformed_ids_does_nothing(root: Client, model: Any) -> None:
    for page, action in ACTIONS:
        if page != label(model):
            continue
        for value in IDS:
            for rest in ({}, {"post": "yes"}, {"select_across": "1"}):
                with transaction.atomic():
                    data = {"action": action, "_selected_action": [value], **rest}
                    answer = root.post(url(model, "changelist"), data)
                    assert answer.status_code in {200, 302}, (action, value)
                    transaction.set_rollback(True)


@pytest.mark.parametrize("model", MODELS, ids=label)
def test_a_page_of_a_malformed_id_is_not_found(root: Client, model: Any) -> None:
    for value in IDS[:-1]:
        for page in ("change", "delete", "history"):
            if not value:
                continue
            answer = root.get(url(model, page, value.replace("\0", "%00")))
            assert answer.status_code in {302, 403, 404}, (page, value)
            assert answer.status_code != 403 or page == "delete", value


@pytest.mark.parametrize("model", MODELS, ids=label)
def test_a_search_for_anything_is_answered(root: Client, model: Any) -> None:
    for value in IDS:
        answer = root.get(url(model, "changelist"), {"q": value.replace("\0", "")})
        assert answer.status_code in {200, 302}, value


def test_a_view_of_the_console_takes_no_malformed_id(root: Client) -> None:
    for namespace, pattern in PATTERNS:
        if not pattern.pattern.converters:
            continue
        values = {name: uuid7() if name != "key" else "none" for name in pattern.pattern.converters}
        known = reverse(f"{namespace}:{pattern.name}", kwargs=values)
        for value in ("abc", "%00", "9" * 30):
            path = known.replace(str(next(iter(values.values()))), value)
            for method in ("GET", "POST"):
                assert root.generic(method, path).status_code in {302, 404, 405}, path
        for method in ("GET", "POST"):
            assert root.generic(method, known).status_code in {302, 404, 405}, known


def test_a_form_of_the_console_takes_any_text(root: Client) -> None:
    forms = {
        "console:hold_step": ("action", "step"),
        "console:limit_calls": ("action", "service", "key", "per_second", "at_once", "reason"),
    }
    for name, fields in forms.items():
        for value in IDS:
            answer = root.post(reverse(name), dict.fromkeys(fields, value))
            assert answer.status_code == 302, (name, value)
    assert connections["default"].is_usable()
