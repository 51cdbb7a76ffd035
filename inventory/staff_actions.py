"""The action of staff on stock, and the group that has it."""

from staff.policy import StaffAction, register
from staff.roles import give

__all__: list[str] = []

register(StaffAction("adjust_stock", "Adjust stock", "inventory.add_stockadjustment"))
give(
    "catalogue",
    "inventory.view_stockitem",
    "inventory.view_stockadjustment",
    "inventory.add_stockadjustment",
)
