"""The probes of `manage.py doctor`. Each module registers its own."""
