"""A release that adds the step `inventory.pack`, and renames `inventory.ship`.

It no longer knows the old name. A deployment back to the project's own release removes a step.
"""
