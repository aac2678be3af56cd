"""How a command gets onto the command line: its options, its help with an example, the function that runs it."""

import argparse
import os.path
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from deploy.local.layout import ROOT

Command = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


class Commands:
    """The commands below one parser; every one of them takes `--data` and `--json`, as the parser itself may."""

    def __init__(self, parser: argparse.ArgumentParser, title: str) -> None:
        self._commands = parser.add_subparsers(dest=title, required=True, metavar=title.upper())
        self._shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
        _shared_by_all(self._shared)

    def add(self, name: str, run: Command, example: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """A command whose help is the docstring of `run`, with an example."""
        words = " ".join((run.__doc__ or "").split())
        added = self._commands.add_parser(
            name, help=words, description=words, epilog=_example(example), parents=[self._shared, *parents]
        )
        added.set_defaults(run=run)
        return added

    def group(self, name: str, words: str, example: str) -> "Commands":
        """A command that is several: `name ACTION`."""
        return Commands(
            self._commands.add_parser(name, help=words, description=words, epilog=_example(example)), "action"
        )


def before_the_command(parser: argparse.ArgumentParser) -> None:
    """Let what every command takes stand before it, too."""
    _shared_by_all(parser)
    parser.set_defaults(data=ROOT / "var", json=False)


def _shared_by_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=folder, metavar="DIR", help="folder of the stack (default: var)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")


def folder(text: str) -> Path:
    """A folder that is there or can be made; raises argparse's error for anything else of that name."""
    if os.path.exists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no folder: name one that is there, or is to be made")
    return Path(text)


def _example(command: str) -> str:
    # argparse takes a percent sign for one of its own.
    return f"example: ./slidemill {command}".replace("%", "%%")
