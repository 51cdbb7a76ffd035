"""Every operator action is complete, and each page that offers actions offers it."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import RequestFactory

from console.admin import OrderAdmin
from console.bulk_actions.action import OrderAction, OrderStepAction, StepAction
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.registry import (
    ACTIONS,
    UnknownAction,
    bulk_actions,
    get_action,
    order_page_actions,
    step_actions,
)
from console.models import LogEntry, Run
from orders.models import Order
from orders.status import Status
from sagas.ids import uuid7
from tests.integration.console.operators import member

pytestmark = pytest.mark.django_db(databases="__all__")

STEP = "inventory.ship"

# As the columns have it.
MOST_CHARACTERS = 20
every_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)


@every_action
def test_an_action_has_a_label_and_its_name_fits_the_column(action):
    assert action.label
    assert action.nothing_to_do
    assert len(action.name) <= MOST_CHARACTERS


@every_action
def test_an_action_takes_a_permission_that_exists(action):
    app, codename = action.permission.split(".")
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
        isinstance(action, OrderStepAction),  # one button for each step of an order
    )
    assert places.count(True) == 1


def test_the_list_and_the_page_of_an_order_offer_every_bulk_action():
    request = RequestFactory().get("/")
    request.user = member("olga", "operator")
    names = {action.name for action in bulk_actions()}
    assert set(OrderAdmin(Order, admin.site).get_actions(request)) == names

    order = Order(status=Status.PENDING)
    offered = [
        action.name for held in (True, False) for action in order_page_actions(order, on_hold=held)
    ]
    assert set(offered) == names


def test_names_are_unique_and_an_unknown_name_is_rejected():
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)
    assert all(get_action(action.name) is action for action in ACTIONS)
    with pytest.raises(UnknownAction, match="Unknown action: “delete”"):
        get_action("delete")
