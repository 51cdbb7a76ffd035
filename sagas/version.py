"""The version of the engine and of the service: the only place that has it.

CHANGELOG.md says what each version contains.
"""

__all__ = ["VERSION"]

VERSION = "1.1.0"
