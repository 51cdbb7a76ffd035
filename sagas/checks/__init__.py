"""System checks: a wrong declaration or setting stops every process at its start.

Without them it would stop a saga halfway. Each check has an id and a hint; docs/checks.md lists
all.
"""
