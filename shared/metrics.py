"""What a service counts, and how that is written in the text format that Prometheus reads. Pure."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass
class Family:
    """One metric: its name, what it says in a sentence, and its values by their labels.

    A `counter` only grows while a process lives; a `gauge` is how things stand.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    values: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)

    def set(self, value: float, labels: Mapping[str, str]) -> None:
        """The value under these labels."""
        self.values[tuple(labels.items())] = value

    def add(self, value: float, labels: Mapping[str, str]) -> None:
        """Adds to the value under these labels."""
        key = tuple(labels.items())
        self.values[key] = self.values.get(key, 0) + value


Source = Callable[[], Awaitable[Sequence[Family]]]


def exposition(families: Iterable[Family]) -> str:
    """The families in text, those without a value left out."""
    lines: list[str] = []
    for family in families:
        if family.values:
            lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
            lines += [f"{family.name}{_labels(labels)} {value:.15g}" for labels, value in family.values.items()]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels) + "}" if labels else ""
