"""No URL of the project is outside of the tables of roles, or of the list of open pages below."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from orders.models import Order
from tests.integration.orders import harness
from tests.integration.roles.roles import MEMBERS_OF_STAFF, ROLES, admin_client, user_of
from tests.integration.roles.test_admin import PAGES, VIEWS, label, unknown, url

pytestmark = [pytest.mark.slow, pytest.mark.django_db(databases="__all__")]

# Open to everyone, because they show nothing of a person or an order. `metrics` and `doctor` ask
# for a secret of their own: tests/integration/api/test_metrics.py and tests/integration/doctor.
OPEN = {"healthz", "readyz", "metrics", "errors", "error", "doctor-seen"}

# Paths without a name: unknown paths, and the old path of a row, which redirects.
NAMELESS = {"api/", "api/<path:rest>", "admin/(?P<url>.*)$"}
REDIRECTED = "/<path:object_id>/"

# The admin's own pages. All but the login and the logout are for members of staff.
OF_THE_ADMIN = {
    *("index", "login", "logout", "password_change", "password_change_done"),
    *("autocomplete", "jsi18n", "view_on_site", "app_list"),
    "search",  # of the theme
}

# The pages of each model, with those of one model only.
OF_A_MODEL = {"changelist", "add", "history", "delete", "change"}
FURTHER = {"auth_user_password_change"}


def urls(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Return each URL pattern of the project, with its path."""
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from urls(pattern, path)
        else:
            yield path, pattern


def test_every_url_is_in_a_table_of_roles_or_is_open_to_everyone():
    of_models = {
        f"{label(model).replace('.', '_')}_{page}"
        for model in admin.site._registry
        for page in OF_A_MODEL
    }
    known = OPEN | OF_THE_ADMIN | of_models | FURTHER | set(VIEWS)
    # test_api.py has every path of the API.
    others = {
        path: pattern.name
        for path, pattern in urls(get_resolver())
        if not path.startswith("api/v1/")
    }
    nameless = {path for path, name in others.items() if name is None}
    assert set(others.values()) - {None} <= known
    assert {path for path in nameless if not path.endswith(REDIRECTED)} == NAMELESS


@pytest.mark.parametrize("role", ROLES)
def test_the_admins_own_pages_are_for_members_of_staff(role: str) -> None:
    client = admin_client(role)
    for name in sorted(OF_THE_ADMIN - {"login", "logout", "view_on_site", "app_list"}):
        answer = client.get(reverse(f"admin:{name}"))
        if role in MEMBERS_OF_STAFF:
            assert answer.status_code == (403 if name == "autocomplete" else 200), (role, name)
        else:
            assert answer.headers["Location"].startswith("/admin/login/"), (role, name)


@pytest.mark.parametrize("role", ROLES)
def test_only_a_superuser_sets_the_password_of_another_user(role: str) -> None:
    carl = User.objects.create_user("carl", password="a right old secret")
    given = {"password1": "battery staple 9", "password2": "battery staple 9"}
    path = reverse("admin:auth_user_password_change", args=[carl.pk])
    answer = admin_client(role).post(path, given)
    carl.refresh_from_db()
    assert carl.check_password("battery staple 9") == (role == "superuser"), role
    if role in MEMBERS_OF_STAFF - {"superuser"}:
        assert answer.status_code == 403


@pytest.mark.parametrize("role", ROLES)
def test_the_history_of_a_row_is_for_the_roles_that_may_view_it(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.stocked("MUG")
    order, client = harness.order(of="ada"), admin_client(role)
    user_of("ada")
    for model, pages in admin.site._registry.items():
        row: Any = order if model is Order else model(pk=unknown(model))
        page = PAGES[label(model)]
        with monkeypatch.context() as patches:
            patches.setattr(pages, "get_object", lambda *args, found=row, **kwargs: found)
            patches.setattr(model, "__str__", lambda row: "a row")
            answer = client.get(url(model, "history", row.pk))
        if role not in MEMBERS_OF_STAFF:
            assert answer.headers["Location"].startswith("/admin/login/"), (role, model)
        else:
            expected = 200 if role in page.view | page.change else 403
            assert answer.status_code == expected, (role, model)
