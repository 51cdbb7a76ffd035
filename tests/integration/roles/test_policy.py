"""The policy itself: every action for every role, and the groups that give the permissions."""

import importlib
from io import StringIO

import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.core.management import CommandError, call_command

from staff.policy import NotPermitted, Shell, all_actions, decide, may_read, require
from staff.roles import AUDITORS, GROUPS, is_auditor
from tests.integration.orders import harness
from tests.integration.roles.roles import ROLES, only, user_of

pytestmark = pytest.mark.django_db

ACT = only("operator", "superuser")
DECIDE = only("approver", "superuser")
CATALOGUE = only("catalogue", "superuser")

TABLE = {
    "retry": ACT,
    "publish": ACT,
    "cancel": ACT,
    "hold": ACT,
    "release": ACT,
    "by_hand": ACT,
    "paid_otherwise": ACT,
    "signal": ACT,
    "hold_step": only("operator", "approver", "superuser"),
    "release_step": DECIDE,
    "limit_calls": only("operator", "approver", "superuser"),
    "raise_limit": DECIDE,
    "decide_run": DECIDE,
    "close_discrepancy": DECIDE,
    "approve_return": DECIDE,
    "receive_return": ACT,
    "give_goodwill": ACT,
    "add_product": CATALOGUE,
    "change_product": CATALOGUE,
    "adjust_stock": CATALOGUE,
    "forget_customer": only("superuser"),
}


def test_the_table_has_every_action():
    assert {action.name for action in all_actions()} == {*TABLE}


@pytest.mark.parametrize("role", ROLES)
def test_the_policy_decides_as_the_table_says(role):
    user = AnonymousUser() if role == "anonymous" else user_of(role)
    decided = {name for name in TABLE if decide(user, name).allowed}
    assert decided == {name for name, roles in TABLE.items() if role in roles}


def test_a_refusal_says_what_is_missing():
    with pytest.raises(NotPermitted, match=r"needs the permission console\.add_run"):
        require(user_of("viewer"), "cancel")
    with pytest.raises(NotPermitted, match="auditors only read"):
        require(user_of("auditor"), "cancel")


def test_a_superuser_who_joins_the_auditors_writes_nothing():
    sue = user_of("superuser")
    sue.groups.add(Group.objects.get(name=AUDITORS))
    assert not any(decide(sue, action.name).allowed for action in all_actions())


def test_without_staff_status_a_permission_counts_for_nothing():
    cat = user_of("catalogue")
    cat.is_staff = False
    cat.save()
    again = User.objects.get(username="catalogue")
    assert not decide(again, "change_product").allowed
    assert not may_read(again, "inventory.view_stockitem")


def test_an_auditor_reads_without_staff_status():
    audrey = harness.user("audrey")
    audrey.groups.add(Group.objects.get(name=AUDITORS))
    assert may_read(audrey, "payments.view_payment")
    assert not may_read(audrey, "auth.view_user")


def test_a_person_at_a_shell_may_do_everything():
    assert decide(Shell("root"), "cancel").allowed
    assert may_read(Shell("root"), "orders.view_order")


def test_no_other_group_takes_away_that_an_auditor_only_views():
    given = user_of("auditor")
    assert given.get_all_permissions() & {"console.add_run", "orders.change_product"}
    for permission in ("console.add_run", "orders.change_product", "auth.change_user"):
        assert not given.has_perm(permission)
    assert given.has_perm("staff.view_logentry")


def test_every_group_may_do_just_what_it_is_for():
    writes = Permission.objects.exclude(codename__startswith="view_")
    assert {
        name: set(writes.filter(group__name=name).values_list("codename", flat=True))
        for name in (*GROUPS, AUDITORS)
    } == {
        "viewer": set(),
        "operator": {"add_run", "pause_step", "receive_return", "give_goodwill"},
        "approver": {"approve_run", "pause_step", "hold_step", "approve_return"},
        "catalogue": {"add_product", "change_product", "add_stockadjustment"},
        "auditors": set(),
    }


def test_the_command_makes_an_auditor_of_a_user_but_not_of_a_superuser():
    User.objects.create_user("ann")
    call_command("make_auditor", "ann", stdout=StringIO())
    ann = User.objects.get(username="ann")
    assert (is_auditor(ann), ann.is_staff) == (True, True)
    User.objects.create_superuser("sue")
    for name in ("sue", "stranger"):
        with pytest.raises(CommandError):
            call_command("make_auditor", name)


MIGRATION = "staff.migrations.0004_staff_without_role"


class TestUpgrade:
    """After the upgrade, staff without a role may do the same as before over REST.

    The services of that release are orders, payments and inventory.
    """

    def upgrade(self):
        importlib.import_module(MIGRATION).keep_what_staff_could_do(apps, None)

    def test_staff_without_any_permission_join_two_groups(self):
        sam, sue, ada = user_of("staff"), user_of("superuser"), user_of("ada")
        vera, mia = user_of("viewer"), harness.user("mia", is_staff=True)
        mia.user_permissions.add(Permission.objects.get(codename="view_order"))
        self.upgrade()
        assert set(sam.groups.values_list("name", flat=True)) == {"viewer", "catalogue"}
        assert [person.groups.count() for person in (sue, ada, vera, mia)] == [0, 0, 1, 0]

    def test_a_missing_group_is_made_with_its_permissions(self):
        views = importlib.import_module(MIGRATION).VIEWED
        before = {
            name: set(
                Group.objects.get(name=name).permissions.filter(content_type__app_label__in=views)
            )
            for name in ("viewer", "catalogue")
        }
        Group.objects.filter(name__in=before).delete()
        user_of("staff")
        self.upgrade()
        for name, permissions in before.items():
            assert set(Group.objects.get(name=name).permissions.all()) == permissions
