"""`make profile CASE=NAME`: where the time of a case goes, by step, as py-spy sees the threads of dicer and pyramid.

After a first run, which nobody watches, every thread that runs is looked at 100 times a second during a second one:
what stands deepest in its stack says which step it is at, and the processor time that the system counted for the
service and its children is shared out by that. The rest is the servers' and waiting: time in which a core did nothing
for the slide.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.bench.__main__ import ROOT, moment, run_once, seconds_between, slidemill, warm
from tests.bench.cases import CASES
from tests.bench.watch import Watch

RATE = 100
SPIED = ("dicer", "pyramid")
# The first one that a frame of the stack matches, from the deepest frame on. A frame reads `function (file)`.
STEPS = (
    ("decode", r"^(_rows|crop_tiles|_decode_jpeg2000|_decode_half|decode|cut_openslide|cut_czi) \(.*pixels"),
    ("encode", r"^encode \(.*pixels"),
    ("box means, putting tiles together", r" \(shared/tiles/pixels\.py\)| \(services/dicer/pixels/"),
    ("between service and children", r" \(shared/decoding/(?!feeding)"),
    (
        "read",
        r" \((shared/(blobs|slides|decoding/feeding)|services/dicer/(cutting|pieces|headers))| \(pymongo/.*/cursor",
    ),
    ("write", r" \(shared/tiles/(mongo|writer)| \(pymongo/.*/database"),
)
OTHER = "events, state, the loop"
# What py-spy now and then takes for running: a thread that waits for work or for a message.
WAITING = re.compile(r"(_worker|wait|select|PeriodicExecutor\._run) \(.*(thread|threading|selectors|executor)\.py\)$")


def step_of(frames: Iterable[str]) -> str:
    """The step that a stack is at; `frames` from the deepest to the outermost."""
    for frame in frames:
        for step, pattern in STEPS:
            if re.search(pattern, frame):
                return step
    return OTHER


def looks_by_step(recorded: str) -> Counter[str]:
    """How often a thread was at each step, of what py-spy recorded: stacks from outermost to deepest, and counts."""
    looks: Counter[str] = Counter()
    for line in recorded.splitlines():
        stack, _, count = line.rpartition(" ")
        # Files by their path in the repository, or in site-packages.
        frames = [re.sub(r"\(.*?((?:shared|services|pymongo|motor)/)", r"(\1", frame) for frame in stack.split(";")]
        if not WAITING.search(frames[-1]):
            looks[step_of(reversed(frames))] += int(count)
    return looks


@contextmanager
def spying(pids: Mapping[str, int], folder: Path) -> Iterator[None]:
    """Has py-spy record these processes and their children into `folder` while the context is open."""
    program = Path(sys.executable).with_name("py-spy")
    options = ("--subprocesses", "--nonblocking", "--nolineno", "--full-filenames", "--format=raw", f"--rate={RATE}")
    spies = [
        subprocess.Popen(
            [program, "record", f"--pid={pid}", *options, f"--output={folder / name}.txt"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, pid in pids.items()
    ]
    # It says nowhere that it has begun, and needs about half a second for a process with children.
    time.sleep(2)
    try:
        yield
    finally:
        for spy in spies:
            spy.send_signal(signal.SIGINT)
        if any(spy.wait() for spy in spies):
            sys.exit("py-spy may not look at these processes: run this as root, or with kernel.yama.ptrace_scope=0.")


def profile(name: str, folder: Path, workers: str) -> None:
    """Prints the table of one case."""
    slide = CASES[name].make(folder)
    data, stacks = folder / "stack", folder / f"profile-{name}"
    shutil.rmtree(data, ignore_errors=True)
    stacks.mkdir(exist_ok=True)
    up = [str(ROOT / "slidemill"), "up", "--detach", "--workers", workers, "--data", str(data)]
    subprocess.run(up, check=True, stdout=sys.stderr)
    try:
        status = slidemill(data, "status")
        pids = {entry["name"]: entry["pid"] for entry in status["services"] + status["servers"]}
        run_once(data, slide)
        warm(slide)
        with Watch(pids) as watch, spying({spied: pids[spied] for spied in SPIED}, stacks):
            image = run_once(data, slide)
            time.sleep(1)
        used = watch.seconds(moment(image, "upload", "ended"), moment(image, "fold", "ended"))
    finally:
        subprocess.run([ROOT / "slidemill", "down", "--data", str(data)], check=True, stdout=sys.stderr)
        shutil.rmtree(data, ignore_errors=True)
    found: dict[str, float] = {}
    for spied in SPIED:
        looks = looks_by_step((stacks / f"{spied}.txt").read_text())
        for step, count in looks.items():
            # On a busy machine a thread that only waits for a core counts as running: shares are what can be trusted.
            found[step] = found.get(step, 0.0) + used[spied] * count / looks.total()
    wall, cores = seconds_between(image), os.cpu_count() or 1
    print(f"\n{name}: {wall:.2f} s on {cores} cores; the stacks, for a flame graph, are in {stacks}")
    for step in (*(step for step, _ in STEPS), OTHER):
        print(f"{step:40} {found.get(step, 0):6.2f} s")
    print(f"{'mongod':40} {used['mongod']:6.2f} s")
    rest = sum(seconds for process, seconds in used.items() if process not in (*SPIED, "mongod"))
    print(f"{'broker, gateway and all others':40} {rest:6.2f} s")
    print(f"{'waiting':40} {max(0.0, cores * wall - sum(used.values())):6.2f} s")


def main() -> None:
    """Runs the case asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=[name for name, case in CASES.items() if not case.latency])
    parser.add_argument("--workers", default="dicer=1,pyramid=1")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    profile(options.case, options.folder, options.workers)


if __name__ == "__main__":
    main()
