"""Every operator action is complete, and each page that offers actions offers it."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import RequestFactory

from backoffice.admin import OrderAdmin
from console.bulk_actions import registry
from console.bulk_actions.action import OrderAction, SingleOrderAction, StepAction
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.registry import (
    UnknownAction,
    bulk_actions,
    get_action,
    order_page_actions,
    register,
    step_actions,
)
from console.models import Run
from orders.models import Order
from orders.status import Status
from sagas.ids import uuid7
from staff.models import LogEntry
from staff.policy import all_actions
from tests.integration.console.operators import member

pytestmark = pytest.mark.django_db(databases="__all__")

STEP = "inventory.ship"

# As the columns have it.
MOST_CHARACTERS = 20
ACTIONS = registry.all_actions()
every_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)


@every_action
def test_an_action_has_a_label_and_its_name_fits_the_column(action):
    assert action.label
    assert action.nothing_to_do
    assert len(action.name) <= MOST_CHARACTERS


@every_action
def test_an_action_has_a_permission_and_a_label_in_the_policy(action):
    [known] = [one for one in all_actions() if one.name == action.name]
    assert action.label == known.label
    app, codename = known.permission.split(".")
    assert Permission.objects.filter(content_type__app_label=app, codename=codename).exists()


@every_action
def test_an_action_has_a_preview_with_figures(action):
    step = "" if action in bulk_actions() else STEP
    impact = action.preview(OrderQueries([uuid7()]), step)
    assert isinstance(impact, Impact)
    assert impact.unreachable == []
    assert action.tiles(impact)


@every_action
def test_an_action_has_an_effect_of_its_own(action):
    kind = StepAction if isinstance(action, StepAction) else OrderAction
    assert isinstance(action, kind)
    assert type(action).apply is not kind.apply


@every_action
def test_an_action_is_a_choice_of_runs_and_of_the_log(action):
    for table in (Run, LogEntry):
        choices = list(table._meta.get_field("action").choices or ())
        assert (action.name, action.label) in choices
    assert Run(action=action.name).get_action_display() == action.label


@every_action
def test_an_action_is_offered_on_exactly_one_kind_of_page(action):
    places = (
        action in bulk_actions(),
        action in step_actions(),
        isinstance(action, SingleOrderAction),  # on the page of an order alone
    )
    assert places.count(True) == 1


def test_the_list_and_the_page_of_an_order_offer_every_bulk_action():
    request = RequestFactory().get("/")
    request.user = member("olga", "operator")
    names = {action.name for action in bulk_actions()}
    assert set(OrderAdmin(Order, admin.site).get_actions(request)) == names

    order: Any = SimpleNamespace(row=Order(status=Status.PENDING))
    offered = [
        action.name for held in (True, False) for action in order_page_actions(order, on_hold=held)
    ]
    assert set(offered) == names


def test_names_are_unique_and_an_unknown_name_is_rejected():
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)
    assert all(get_action(action.name) is action for action in ACTIONS)
    with pytest.raises(UnknownAction, match="Unknown action: “delete”"):
        get_action("delete")


def test_a_second_project_action_of_one_name_is_rejected():
    class Another(type(get_action("cancel"))):  # type: ignore[misc]
        """Cancels in a way of its own."""

    with pytest.raises(TypeError, match="'cancel' is registered twice"):
        register(Another())
    register(get_action("cancel"))
    assert [action.name for action in registry.all_actions()] == [each.name for each in ACTIONS]
