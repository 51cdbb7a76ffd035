"""One user of each role, and how a table of roles is read."""

from collections.abc import Iterable

from django.contrib.auth.models import User
from django.test import Client

from api.auth.tokens import issue_token
from tests.integration.orders import harness

# Ada is the customer whose order it is. "staff" is in no group. The auditor is in every other group
# as well, and may still write nothing. The inactive user was a superuser in every group.
ROLES = (
    "anonymous",
    "ada",
    "bob",
    "staff",
    "viewer",
    "operator",
    "approver",
    "catalogue",
    "auditor",
    "superuser",
    "inactive",
)
ALL_GROUPS = ("viewer", "operator", "approver", "catalogue", "auditors")

GROUPS = {
    "staff": (),
    "viewer": ("viewer",),
    "operator": ("operator",),
    "approver": ("approver",),
    "catalogue": ("catalogue",),
    "auditor": ALL_GROUPS,
    "superuser": (),
    "inactive": ALL_GROUPS,
}

# Users who may open the admin.
MEMBERS_OF_STAFF = frozenset(GROUPS) - {"inactive"}


def user_of(role: str) -> User:
    """Return the user of a role, which is its name."""
    user = harness.user(role, *GROUPS.get(role, ()), is_staff=role in GROUPS)
    if role in {"superuser", "inactive"}:
        user.is_superuser, user.is_active = True, role == "superuser"
        user.save()
    return user


def api_client(role: str) -> Client:
    """Return a client of the API, which shows an error of the server as a 500."""
    if role == "anonymous":
        return Client(raise_request_exception=False)
    token = issue_token(user_of(role))
    return Client(headers={"Authorization": f"Bearer {token}"}, raise_request_exception=False)


def admin_client(role: str) -> Client:
    """Return a client of the admin, which raises an error of the server."""
    client = Client()
    if role != "anonymous":
        client.force_login(user_of(role))
    return client


def only(*roles: str) -> frozenset[str]:
    """Return these roles, after checking that they exist."""
    assert set(roles) <= set(ROLES), roles
    return frozenset(roles)


def columns(numbers: str) -> dict[str, int]:
    """Return the number of each role in a row of a table."""
    return dict(zip(ROLES, map(int, numbers.split()), strict=True))


def names(roles: Iterable[str]) -> list[str]:
    """Return roles in the order of the tables."""
    return [role for role in ROLES if role in set(roles)]
