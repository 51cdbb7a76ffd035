"""Every command that writes, with the action of its log entries. A shell may run all of them."""

from django.core.management import get_commands

from staff.policy import Shell, action_choices, all_actions, decide
from tests.integration.staff.test_commands import OF_LIBRARIES, READS

# The action of the entries of each command. `tests/integration/staff/test_commands.py` runs them.
COMMANDS = {
    "axes_reset": "reset_lockouts",
    "axes_reset_failure_logs": "reset_lockouts",
    "axes_reset_ip": "reset_lockouts",
    "axes_reset_ip_username": "reset_lockouts",
    "axes_reset_logs": "reset_lockouts",
    "axes_reset_username": "reset_lockouts",
    "create_token": "create_token",
    "forget_customer": "forget_customer",
    "limit_calls": "limit_calls",
    "loaddata": "loaddata",
    "make_auditor": "make_auditor",
    "reconcile": "reconcile",
    "recover": "recover",
    "revoke_tokens": "revoke_tokens",
    "saga": "retry",  # and the others of tests/integration/console/test_saga_command.py
}


def test_the_table_has_every_command_that_writes():
    assert set(get_commands()) - set(READS | OF_LIBRARIES) == set(COMMANDS)


def test_the_actions_of_commands_are_in_the_policy_or_are_events():
    assert set(COMMANDS.values()) <= dict(action_choices()).keys()
    actions = {action.name for action in all_actions()}
    permitted = {name for name in COMMANDS.values() if name in actions}
    assert permitted == {"forget_customer", "limit_calls", "retry"}
    assert all(decide(Shell("root"), name).allowed for name in permitted)
