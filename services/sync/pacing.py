"""How fast folders may be read."""

from datetime import datetime, timedelta

from shared.clock import Clock

# Nobody waits for longer, unless the clock was set back.
_LONGEST = timedelta(minutes=2)


class Pace:
    """Lets through so many bytes in a second, of all who ask together and in the order of asking; or any number."""

    def __init__(self, clock: Clock, bytes_per_second: int | None = None) -> None:
        self._clock = clock
        self._rate = bytes_per_second
        self._free: datetime | None = None

    async def take(self, count: int) -> None:
        """Returns once `count` more bytes may be read."""
        if self._rate is None:
            return
        now = self._clock.now()
        start = now if self._free is None or self._free - now > _LONGEST else max(now, self._free)
        # Claimed before anybody waits: who asks next waits for these too.
        self._free = start + timedelta(seconds=count / self._rate)
        if start > now:
            await self._clock.sleep((start - now).total_seconds())
