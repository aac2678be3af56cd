"""For how long scans and imports keep a message: then they let others have their turn, and go on in the next one."""

from datetime import timedelta

from shared.clock import Clock
from shared.errors import SlidemillError

# Well within the 30 minutes after which a broker takes back what a consumer holds.
TURN = timedelta(minutes=5)


class Unfinished(SlidemillError):
    """The turn is over; the next one goes on from here."""


class Turn:
    """How long a message may take from now on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._end = clock.now() + TURN

    @property
    def over(self) -> bool:
        """Whether it is time to let others have their turn."""
        return self._clock.now() >= self._end
