"""The actions of staff on the catalogue, and the group that has them."""

from staff.policy import StaffAction, register
from staff.roles import give

__all__: list[str] = []

register(
    StaffAction("add_product", "Add a product", "orders.add_product"),
    StaffAction("change_product", "Change a product", "orders.change_product"),
)
give("catalogue", "orders.view_product", "orders.add_product", "orders.change_product")
