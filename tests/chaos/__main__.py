"""`make chaos`: faults at random while files of mixed kinds are sent; afterwards nothing may be lost or doubled.

One host, processes killed and paused: this says nothing about power loss or a broken disk.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.chaos.faults import Faults
from tests.chaos.load import expected_end, fill, kind_of, make_kinds
from tests.chaos.pest import Pest
from tests.chaos.stack import Network, frail_stack
from tests.chaos.verdict import Ends, judge, look
from tests.running import RunningStack

SETTLE_SECONDS = 420
TWO_OF_EACH = {"dicer": 2, "pyramid": 2}


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


def send(stack: RunningStack, folder: Path, acknowledged: set[str]) -> None:
    """Uploads a folder and notes which files the gateway acknowledged."""
    outcome = stack.run("upload", str(folder), "--session", "chaos", check=False)
    if outcome is None:
        print(f"  the upload of {folder.name} was given up", file=sys.stderr)
        return
    acknowledged.update(image["name"] for image in outcome["images"])


def main() -> int:
    """Prints the table; exits 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--copies", type=int, default=2, help="files of each kind in one round of uploads")
    parser.add_argument("--least-images", type=int, default=14)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--crash", default="after-publish:40", help="where each service crashes, and at which pass")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="slidemill-chaos-") as folder,
        frail_stack(TWO_OF_EACH, options.crash) as (stack, network),
    ):
        return break_and_judge(stack, network, Path(folder), options)


def break_and_judge(stack: RunningStack, network: Network, folder: Path, options: argparse.Namespace) -> int:
    """One undisturbed run of each kind, then the faults, then the verdict."""
    kinds = make_kinds(folder / "kinds")
    stack.run("upload", str(folder / "kinds"), "--session", "undisturbed", "--wait", check=False)
    before = settle(stack)
    clean = {name: (before.states[ids[0]], before.digests[ids[0]]) for name, ids in before.images.items()}
    print(f"undisturbed: {', '.join(f'{name} {state}' for name, (state, _) in sorted(clean.items()))}", flush=True)
    if {name: state for name, (state, _) in clean.items()} != {name: expected_end(name) for name in kinds}:
        print("The kinds did not end as they should with nothing broken, so breaking things would show nothing.")
        print("0 passed, 1 failed")
        return 1

    rng = random.Random(options.seed)
    pest = Pest(stack.amqp, rng)
    faults = Faults(stack.status, network, pest, rng)
    sent: list[str] = []
    acknowledged: set[str] = set()
    start = time.monotonic()
    round_number = 0
    while sum(faults.done.values()) < options.faults or len(sent) < options.least_images:
        round_number += 1
        files = folder / f"round-{round_number}"
        sent += fill(files, kinds, round_number, options.copies)
        sender = threading.Thread(target=send, args=(stack, files, acknowledged))
        sender.start()
        while sender.is_alive():
            if sum(faults.done.values()) < options.faults:
                faults.break_something()
            faults.pause_between()
        shutil.rmtree(files)
    faulty_seconds = time.monotonic() - start
    ends = settle(stack)
    verdict = judge(sent, acknowledged, clean, kind_of, ends, pest.poison)

    faults.done[f"crash point {options.crash}"] = crashes(stack)
    trials = sum(faults.done.values())
    print(
        f"seed {options.seed}: {trials} faults in {faulty_seconds:.0f} s,"
        f" settled after {time.monotonic() - start:.0f} s"
    )
    for kind, count in sorted(faults.done.items()):
        print(f"  {kind:<30} {count}")
    for word in ("attempted", "acknowledged", "lost", "unexpected", "duplicated", "recovered"):
        print(f"{word:<13} {getattr(verdict, word)}")
    for complaint in verdict.complaints:
        print(f"  {complaint}")
    if verdict.clean:
        print(
            f"no loss in {trials} faults:"
            f" at 95 % confidence a fault loses something in fewer than {3 / trials:.1%} of cases"
        )
    print(f"{int(verdict.clean)} passed, {int(not verdict.clean)} failed")
    return 0 if verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
