"""`./slidemill`: the operator's command line. Results go to stdout, everything else to stderr.

Each command imports what it needs itself: scripts call `status` often, and it needs little of what `demo` does.
"""

import argparse
import asyncio
import os
import sys

from services.ops import bus_commands, gateway_commands, stack_commands, store_commands
from services.ops.commandline import Command, Commands, before_the_command
from services.ops.errors import CommandFailed


def parser() -> argparse.ArgumentParser:
    """Every command with its options, and an example in each help text."""
    root = argparse.ArgumentParser(
        prog="slidemill",
        description="Run slidemill on this machine, send slides, see what became of them.",
        epilog="example: ./slidemill up --detach && ./slidemill upload scan.svs --session 'Case 12' --wait",
    )
    before_the_command(root)
    commands = Commands(root, "command")
    stack_commands.register(commands)
    gateway_commands.register(commands)
    store_commands.register(commands)
    gateway_commands.register_signin(commands)
    bus_commands.register(commands)
    stack_commands.register_demo(commands)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 failed, 2 usage, 3 stack unreachable."""
    given = parser().parse_args(arguments)
    given.data = given.data.absolute()
    run: Command = given.run
    try:
        code = asyncio.run(run(given))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` does; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except CommandFailed as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except OSError as error:
        # A file or folder that was named, or lies in the stack's; anything else is a bug.
        if error.filename is None:
            raise
        print(f"{error.filename} can't be used ({error.strerror}): see its rights, or name another.", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Ctrl-C is how `up` and `demo` are meant to end; anything else was broken off.
        if given.command == "upload":
            print("Stopped. The same command goes on from where this one was.", file=sys.stderr)
        return 0 if given.command in ("up", "demo") else 1


if __name__ == "__main__":
    sys.exit(main())
