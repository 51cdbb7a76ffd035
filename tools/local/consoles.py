"""Rich's consoles: tables keep their width where the output is no terminal."""

from rich.console import Console

__all__ = ["wide_console"]

NARROWEST = 120


def wide_console(*, narrowest: int = NARROWEST, to_stderr: bool = False) -> Console:
    """Return a console. Into a file or a pipe it writes lines of at least `narrowest` columns."""
    console = Console(stderr=to_stderr)
    if console.is_terminal:
        return console
    return Console(stderr=to_stderr, width=max(console.width, narrowest))
