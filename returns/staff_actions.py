"""The actions of staff on returns, and the groups that have them.

An operator receives returned goods and proposes goodwill. An approver decides on the returns.
"""

from staff.policy import StaffAction, register
from staff.roles import give

__all__: list[str] = []

register(
    StaffAction("approve_return", "Approve or refuse a return", "returns.approve_return"),
    StaffAction("receive_return", "Receive the goods of a return", "returns.receive_return"),
    StaffAction("give_goodwill", "Propose money out of goodwill", "returns.give_goodwill"),
)
give("operator", "returns.receive_return", "returns.give_goodwill")
give("approver", "returns.approve_return")
