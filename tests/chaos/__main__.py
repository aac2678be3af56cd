"""`make chaos`: faults at random while files of mixed kinds are sent; afterwards nothing may be lost or doubled.

One host, processes killed and paused, disks filled, clocks set: this says nothing about power loss or a broken disk.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.controls import controls
from tests.chaos.faults import OtherHand, ServiceHand, Tally
from tests.chaos.load import expected_end, fill, kind_of, make_kinds, send
from tests.chaos.pest import Pest
from tests.chaos.report import Run, told
from tests.chaos.stack import Frail, frail_stack
from tests.chaos.verdict import Ends, judge, look
from tests.running import RunningStack

SETTLE_SECONDS = 420
# Between two rounds of uploads at least so many faults, so that a long run does not fill the disks by itself.
FAULTS_PER_ROUND = 5
LEAST_IMAGES = 50


def ends_of(stack: RunningStack) -> Ends:
    """What database and broker hold now."""
    return asyncio.run(look(stack.mongodb, stack.amqp))


def settle(stack: RunningStack) -> Ends:
    """Waits, bounded, until every image has come to an end and nothing waits; returns what is there then."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            ends = ends_of(stack)
        except Exception as error:
            # A server may still be coming back from the last fault.
            if time.monotonic() > deadline:
                raise
            print(f"  waiting for the servers: {error}", file=sys.stderr)
        else:
            working = [state for state in ends.states.values() if state not in ("ready", "failed")]
            if (not working and not ends.leftovers) or time.monotonic() > deadline:
                return ends
        time.sleep(2)


def crashes(stack: RunningStack) -> int:
    """How often services have ended by their crash point, as their logs tell."""
    return sum(log.read_text(errors="replace").count("crash point ") for log in (stack.data / "log").glob("*.log"))


def main() -> int:
    """Prints the table; exits 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", type=Path, help="writes the table there too, indented as in docs/reliability.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slidemill-chaos-") as folder, frail_stack() as frail:
        run = break_and_judge(frail, Path(folder), options.faults, options.seed)
    if run is None:
        print("The kinds did not end as they should with nothing broken, so breaking things would show nothing.")
        print("0 passed, 1 failed")
        return 1
    run.controls = controls()
    table = told(run)
    print(table)
    if options.table is not None:
        options.table.write_text("".join(f"    {line}\n" for line in table.splitlines()))
    print(f"{int(run.good)} passed, {int(not run.good)} failed")
    return 0 if run.good else 1


def break_and_judge(frail: Frail, folder: Path, most: int, seed: int) -> Run | None:
    """One undisturbed run of each kind, then the faults, then the verdict; None if the first went wrong already."""
    stack = frail.stack
    kinds = make_kinds(folder / "kinds")
    stack.run("upload", str(folder / "kinds"), "--session", "undisturbed", "--wait", check=False)
    before = settle(stack)
    clean = {name: (before.states[ids[0]], before.digests[ids[0]]) for name, ids in before.images.items()}
    print(f"undisturbed: {', '.join(f'{name} {state}' for name, (state, _) in sorted(clean.items()))}", flush=True)
    if {name: state for name, (state, _) in clean.items()} != {name: expected_end(name) for name in kinds}:
        return None

    pest = Pest(stack.amqp, random.Random(seed))
    tally = Tally(most)
    start = time.monotonic()
    hands = [ServiceHand(frail, tally, seed).begin(), OtherHand(frail, tally, seed + 1, pest).begin()]
    sent: list[str] = []
    acknowledged: set[str] = set()
    refused = round_number = 0
    while any(hand.is_alive() for hand in hands) or len(sent) < LEAST_IMAGES:
        round_number += 1
        before_round = tally.total
        files = folder / f"round-{round_number}"
        sent += fill(files, kinds, round_number)
        refused += send(stack, files, acknowledged)
        shutil.rmtree(files)
        while any(hand.is_alive() for hand in hands) and tally.total < before_round + FAULTS_PER_ROUND:
            time.sleep(0.2)
        print(f"  {tally.total} faults, {len(sent)} files", file=sys.stderr)
    for hand in hands:
        hand.join()
    faulty_seconds = time.monotonic() - start
    ends = settle(stack)
    verdict = judge(sent, acknowledged, clean, kind_of, ends, pest.poison)
    tally.by_kind["crash point"] = crashes(stack)
    return Run(
        seed=seed,
        faults=dict(tally.by_kind),
        kinds=len(kinds),
        faulty_seconds=faulty_seconds,
        settled_seconds=time.monotonic() - start,
        refused=refused,
        small_disks=bool(frail.disks),
        verdict=verdict,
    )


if __name__ == "__main__":
    sys.exit(main())
