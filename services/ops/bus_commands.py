"""The commands about messages; `topology` is here. Each imports what it needs itself, as in `__main__`."""

import argparse
import json
import sys

from services.ops import dead_commands, replay_commands
from services.ops.commandline import Commands
from services.ops.tables import print_table


def register(commands: Commands) -> None:
    """Add them to the command line."""
    topology = commands.group("topology", "Exchanges and queues: the table, and what the broker has.", "topology check")
    topology.add("show", topology_show, "topology show")
    topology.add("apply", topology_apply, "topology apply")
    topology.add("check", topology_check, "topology check")
    dead_commands.register(commands)
    replay_commands.register(commands)


async def topology_show(given: argparse.Namespace) -> int:
    """Show the table of exchanges and queues, with arguments and bindings."""
    from services.ops import topology

    table = topology.show()
    if given.json:
        print(json.dumps(table))
        return 0
    for kind, entries in table.items():
        print_table((kind, "arguments"), [(entry.pop("name"), json.dumps(entry)) for entry in entries])
    return 0


async def topology_apply(given: argparse.Namespace) -> int:
    """Make on the broker what is missing of the table, and claim the prefix for this database."""
    from services.ops import topology

    told = await topology.make(given.data)
    print(json.dumps(told) if given.json else f"Every queue of {told['prefix']} is there.")
    return 0


async def topology_check(given: argparse.Namespace) -> int:
    """Compare the broker with the table; tell each difference and exit 1 if there is any. Changes nothing."""
    from services.ops import topology

    told = await topology.check(given.data)
    if given.json:
        print(json.dumps(told))
    for sentence in topology.sentences(told["differences"]):
        print(sentence, file=sys.stderr)
    if not told["differences"]:
        print(f"The broker has {told['prefix']} as the table says.", file=sys.stderr)
        return 0
    print(
        f"{len(told['differences'])} differences. ./slidemill topology apply makes what is missing; the rest is yours "
        "to mend on the broker's page, once a queue's messages are worked off.",
        file=sys.stderr,
    )
    return 1
