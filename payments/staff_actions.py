"""The actions of staff on money, beside those of the console on any saga."""

from payments.paid_otherwise import ACTION
from staff.policy import StaffAction, register, register_events

__all__: list[str] = []

register(
    StaffAction(ACTION, "Record owed money as paid in another way", "console.add_run"),
    # The group of approvers has the first permission. An administrator may give the second to
    # others.
    StaffAction(
        "close_discrepancy",
        "Close a difference from the gateway",
        "console.approve_run",
        "payments.change_drift",
    ),
)
register_events({"reconcile": "Reconcile by hand"})
