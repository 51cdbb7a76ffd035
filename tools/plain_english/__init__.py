"""The part of the language rules that a program can check: `python -m tools.plain_english`."""
