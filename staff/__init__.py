"""Writes by staff: the policy that permits each one, and the log that has all of them.

API, admin, console and commands call `staff.writes.staff_write`, which asks `staff.policy` and
writes to `staff.log`.
"""
