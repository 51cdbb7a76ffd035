"""The action of the policy that anonymises a customer. Only the command at a shell takes it."""

from staff.policy import StaffAction, register

__all__: list[str] = []

register(StaffAction("forget_customer", "Anonymise a customer", "auth.delete_user"))
