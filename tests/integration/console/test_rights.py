"""Permissions are checked on the server, and every change is a POST with a CSRF token."""

from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db import connection

from console.bulk_actions import runs
from console.models import Run
from orders.status import Status
from tests.integration.console.operators import confirmed, member, paid, select, stuck
from tests.integration.orders import harness

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]


class TestRights:
    @pytest.mark.parametrize("path", ["confirm", "approve", "decline"])
    def test_a_viewer_may_start_and_decide_nothing(self, client, olga, path):
        run = runs.draft("retry", [stuck().id], by=olga)
        client.force_login(member("vera", "viewer"))
        assert client.post(f"/admin/console/run/{run.id}/{path}/").status_code == 403
        assert client.get(f"/admin/console/run/{run.id}/change/").status_code == 200

    def test_a_viewer_is_offered_no_action_and_has_none(self, client):
        order = stuck()
        client.force_login(member("vera", "viewer"))
        page = f"/admin/orders/order/{order.id}/"
        assert "Cancel and undo" not in client.get(f"{page}change/").content.decode()
        assert client.post(f"{page}act/", {"action": "cancel"}).status_code == 403
        select(client, "cancel", order)
        assert not Run.objects.exists()

    def test_no_way_back_is_offered_where_there_is_none(self, operator):
        fulfilled, ended = harness.order(Status.FULFILLED), harness.order(Status.CANCELLED)
        page = operator.get(f"/admin/orders/order/{fulfilled.id}/change/")
        assert [action.name for action in page.context["actions"]] == ["retry", "publish", "hold"]
        assert operator.get(f"/admin/orders/order/{ended.id}/change/").context["actions"] == []

    def test_an_approver_cannot_act_on_an_order(self, client, anna):
        client.force_login(anna)
        assert (
            client.post(f"/admin/orders/order/{stuck().id}/act/", {"action": "cancel"}).status_code
            == 403
        )

    def test_an_operator_does_not_approve(self, operator, olga, settings):
        settings.CONSOLE_REFUND_LIMIT = 0
        run = confirmed("cancel", paid(), by=member("oscar", "operator"))
        assert operator.post(f"/admin/console/run/{run.id}/approve/").status_code == 403

    @pytest.mark.parametrize("path", ["confirm", "approve", "decline"])
    def test_nothing_is_changed_by_a_get(self, admin_client, olga, path):
        run = runs.draft("retry", [stuck().id], by=olga)
        assert admin_client.get(f"/admin/console/run/{run.id}/{path}/").status_code == 405

    def test_a_post_without_its_token_is_refused(self, olga):
        from django.test import Client  # noqa: PLC0415

        strict = Client(enforce_csrf_checks=True)
        strict.force_login(olga)
        assert (
            strict.post(f"/admin/orders/order/{stuck().id}/act/", {"action": "cancel"}).status_code
            == 403
        )

    def test_an_unknown_action_is_rejected(self, operator):
        page = operator.post(
            f"/admin/orders/order/{stuck().id}/act/", {"action": "delete"}, follow=True
        )
        assert "Unknown action" in page.content.decode()

    def test_a_permission_taken_from_a_group_stays_taken(self):
        from staff.roles import make_groups  # noqa: PLC0415

        Group.objects.get(name="operator").permissions.clear()
        Group.objects.get(name="viewer").delete()
        make_groups(None, using="default")
        assert not Group.objects.get(name="operator").permissions.exists()
        assert Group.objects.get(name="viewer").permissions.filter(codename="view_order").exists()

    def test_existing_operators_and_those_that_could_hold_steps_may_pause_after_the_upgrade(self):
        migration = import_module("console.migrations.0011_person_and_day")
        Permission.objects.filter(codename="pause_step").delete()
        on_call, other = (Group.objects.create(name=name) for name in ("on call", "other"))
        releases = Permission.objects.get(codename="hold_step")
        on_call.permissions.add(releases)
        vera = member("vera")
        vera.user_permissions.add(releases)

        with connection.schema_editor() as editor:
            migration.give_pause(apps, editor)
        may_pause = Group.objects.filter(permissions__codename="pause_step")
        assert set(may_pause.values_list("name", flat=True)) == {"operator", "approver", "on call"}
        assert not other.permissions.exists()
        assert vera.user_permissions.filter(codename="pause_step").exists()

    def test_existing_groups_take_part_in_returns_after_the_upgrade(self):
        migration = import_module("returns.migrations.0003_permissions")
        Permission.objects.filter(content_type__model="return").delete()
        other = Group.objects.create(name="other")

        with connection.schema_editor() as editor:
            migration.give_permissions(apps, editor)
        operators = Group.objects.filter(permissions__codename="receive_return")
        approvers = Group.objects.filter(permissions__codename="approve_return")
        assert [group.name for group in operators] == ["operator"]
        assert [group.name for group in approvers] == ["approver"]
        assert not other.permissions.exists()

    def test_existing_groups_view_returns_after_the_upgrade(self):
        migration = import_module("returns.migrations.0008_view_permissions")
        views = Permission.objects.filter(
            content_type__app_label="returns", codename__startswith="view_"
        )
        expected = set(views.values_list("codename", "name"))
        views.delete()
        other = Group.objects.create(name="other")

        with connection.schema_editor() as editor:
            migration.give_view_permissions(apps, editor)
        for name in ("viewer", "operator", "approver"):
            given = Group.objects.get(name=name).permissions.filter(
                content_type__app_label="returns", codename__startswith="view_"
            )
            assert set(given.values_list("codename", "name")) == expected
        assert ("view_return", "Can view return") in expected
        assert not other.permissions.exists()

    def test_no_group_may_do_more_than_look_and_act(self):
        given = Permission.objects.filter(group__isnull=False).exclude(codename__startswith="view_")
        assert set(given.values_list("codename", flat=True)) == {
            "add_run",
            "approve_run",
            "pause_step",
            "hold_step",
            "approve_return",
            "receive_return",
            "give_goodwill",
            "add_product",
            "change_product",
            "add_stockadjustment",
        }
