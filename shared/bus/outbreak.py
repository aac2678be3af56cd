"""Tells a bug that kills whatever comes from a message that has a fault of its own. Pure but for what it remembers.

A bad release must not turn a backlog into dead letters: when most of the last messages of a kind die of one bug, and
they belong to several images, the bug is the release's.
"""

from collections import Counter, deque
from traceback import walk_tb

WINDOW = 20
# One image that finds a bug has many blocks; as many images as this have not.
IMAGES = 5


def signature(error: BaseException) -> str:
    """What a bug is recognised by: the type of the error and the place where it was raised, not its words."""
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return type(error).__name__
    frame, line = frames[-1]
    return (
        f"{type(error).__name__} in {frame.f_code.co_qualname} ({frame.f_code.co_filename.rpartition('/')[2]}:{line})"
    )


class Outbreak:
    """Remembers how the last messages of each kind ended. `bug` is what goes round, as long as it does."""

    def __init__(self) -> None:
        self.bug: str | None = None
        self.deaths = 0
        self._kind: str | None = None
        self._ends: dict[str, deque[tuple[str, str | None]]] = {}

    def record(self, kind: str, image: str, bug: str | None) -> None:
        """Notes that a message of this kind died of `bug`, or lived. One of the dying kind that lives ends it."""
        ends = self._ends.setdefault(kind, deque(maxlen=WINDOW))
        if bug is None and kind == self._kind:
            self.bug = self._kind = None
            ends.clear()
        ends.append((image, bug))
        if bug is None or self.bug is not None:
            return
        images = {image for image, died_of in ends if died_of == bug}
        deaths = Counter(died_of for _, died_of in ends)[bug]
        if deaths > WINDOW // 2 and len(images) >= IMAGES:
            self.bug, self.deaths, self._kind = bug, deaths, kind

    def concerns(self, kind: str) -> bool:
        """Whether it is this kind of message that dies."""
        return self.bug is not None and kind == self._kind
