"""The table of a chaos run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.chaos.controls import CARELESS, FAULTS
from tests.chaos.verdict import Verdict

WORDS = ("attempted", "acknowledged", "lost", "unexpected", "duplicated", "recovered")


@dataclass
class Run:
    """What was broken, how often the gateway had no room for a file, what came of it, and of the controls."""

    seed: int
    faults: Mapping[str, int]
    kinds: int
    faulty_seconds: float
    settled_seconds: float
    refused: int
    small_disks: bool
    verdict: Verdict
    controls: dict[str, Verdict] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing is amiss, and the checker finds it where something is."""
        careful = all(verdict.clean for care, verdict in self.controls.items() if care not in CARELESS)
        return self.verdict.clean and careful and all(self.controls[care].lost > 0 for care in CARELESS)


def told(run: Run) -> str:
    """The table. Pure."""
    return "\n".join(_lines(run))


def _lines(run: Run) -> Iterator[str]:
    trials = sum(run.faults.values())
    verdict = run.verdict
    yield (
        f"seed {run.seed}: {trials} faults in {run.faulty_seconds:.0f} s while {verdict.attempted} files of"
        f" {run.kinds} kinds were sent, settled after {run.settled_seconds:.0f} s"
    )
    for kind, count in sorted(run.faults.items()):
        yield f"  {kind:<40} {count}"
    if not run.small_disks:
        yield "  full disks were not tried: making small ones takes root"
    for word in WORDS:
        yield f"{word:<13} {getattr(verdict, word)}"
    yield f"{'refused':<13} {run.refused} for want of room, and sent again"
    yield from (f"  {complaint}" for complaint in verdict.complaints)
    if verdict.clean:
        yield (
            f"no loss in {trials} faults:"
            f" at 95 % confidence a fault loses something in fewer than {3 / trials:.1%} of cases"
        )
    for care, control in run.controls.items():
        yield f"control {care:<12} {control.lost} of {control.attempted} messages lost in {FAULTS} faults"
