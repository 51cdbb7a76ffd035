"""The command line: `python -m tools.local run`, `demo`, or `exec -- COMMAND`."""

import argparse
import sys
from collections.abc import Sequence

from tools.local.packages import explained_imports

with explained_imports():
    from tools.local.commands import execute, run
    from tools.local.demo.command import demo
    from tools.local.errors import LocalError
    from tools.local.signals import stop_in_order


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the command line names; return the exit code."""
    chosen = _parser().parse_args(arguments)
    stop_in_order()

    try:
        if chosen.command == "exec":
            return execute([part for part in chosen.rest if part != "--"])
        return {"run": run, "demo": demo}[chosen.command]()
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.local", description="Run the whole system on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start everything and keep it up until Ctrl-C")
    commands.add_parser(
        "demo", help="start everything, place orders, kill a worker, check the result"
    )
    with_servers = commands.add_parser("exec", help="run a command with the servers' environment")
    with_servers.add_argument("rest", nargs=argparse.REMAINDER, metavar="-- COMMAND")

    return parser


if __name__ == "__main__":
    sys.exit(main())
