"""The version of the service. The engine has the same one, because they are released together."""

from sagas.version import VERSION

__all__ = ["VERSION"]
