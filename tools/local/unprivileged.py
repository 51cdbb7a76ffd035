"""Run PostgreSQL without root, which it refuses: choose a user, and give it programs and data."""

import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["NOBODY", "home_for_data", "reachable_copy", "server_user"]

NOBODY = 65534


def server_user() -> int:
    """Return the uid to drop to, or 0 to keep the user, which is not root."""
    return NOBODY if os.geteuid() == 0 else 0


def reachable(path: Path) -> bool:
    """Return whether every user may traverse all parent directories of a path."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def home_for_data(link: Path, user: int) -> Path:
    """Return a directory at `link` that belongs to `user` (0: the current user).

    If `user` may not enter a parent directory, such as /root, `link` becomes a symbolic link to a
    directory in /var/tmp, which survives a restart of the machine.
    """
    if not link.is_dir():
        link.unlink(missing_ok=True)  # a link whose target was deleted
        _make(link, user)

    if user:
        os.chown(link, user, user)

    link.chmod(0o700)
    return link.resolve()


def _make(link: Path, user: int) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not user or reachable(link):
        link.mkdir()
    else:
        # /var/tmp is writable by all users: mkdtemp creates a directory that only we can write to.
        link.symlink_to(tempfile.mkdtemp(prefix="embedded-postgres-", dir="/var/tmp"))  # nosec B108


def reachable_copy(packages: list[Path], home: Path, user: int) -> Path:
    """Return the directory, without links, from which `user` can run the programs of `packages`.

    If `user` cannot reach the packages, they are copied to `home`, side by side, because their
    libraries find each other by relative paths.
    """
    site = packages[0].parent.resolve()
    if not user or reachable(packages[0] / "any"):
        return site

    copies = home / "programs"
    if not copies.is_dir():
        unfinished = home / "programs.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for package in packages:
            shutil.copytree(package, unfinished / package.name, symlinks=True)

        for path in (unfinished, *unfinished.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)

        unfinished.rename(copies)

    return copies
