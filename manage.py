#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.core.management import execute_from_command_line

from config.local_stack import use_running_stack


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    use_running_stack()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
