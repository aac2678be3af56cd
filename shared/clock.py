"""Time as a dependency, so that back-off, expiry and ticks are tested without waiting."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

# Clocks of several hosts differ by less: what is dated further ahead was written before a clock was set back.
SKEW = timedelta(minutes=5)
# For tests of what happens when a machine's clock is set: the file that it names holds seconds to add to the time.
OFFSET_FILE = "SLIDEMILL_CLOCK_OFFSET_FILE"


class Clock(Protocol):
    """Wall clock in UTC plus a sleep that follows it."""

    def now(self) -> datetime:
        """The current time: UTC, cut to milliseconds, which is what MongoDB keeps."""
        ...

    def elapsed(self) -> float:
        """Seconds since some moment, which nobody can set; the time for which a machine sleeps counts."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns once the clock has moved on by `seconds`."""
        ...


def to_milliseconds(moment: datetime) -> datetime:
    """The same moment without the microseconds that MongoDB would drop."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class SystemClock:
    """The machine's clock; set wrong, as often as it is looked at, by the file that a test names in the environment."""

    def __init__(self) -> None:
        named = os.environ.get(OFFSET_FILE)
        self._offset = Path(named) if named else None

    def now(self) -> datetime:
        """See `Clock.now`."""
        now = datetime.now(UTC)
        if self._offset is not None:
            now += timedelta(seconds=float(self._offset.read_text()))
        return to_milliseconds(now)

    def elapsed(self) -> float:
        """See `Clock.elapsed`."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands until it is moved; `sleep` moves it and lets other tasks run."""

    def __init__(self, start: datetime) -> None:
        self._now = to_milliseconds(start)
        self._elapsed = 0.0

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._now

    def elapsed(self) -> float:
        """See `Clock.elapsed`."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self._elapsed += seconds
        self.set(seconds)

    def set(self, seconds: float) -> None:
        """Sets the clock ahead, or back, while no time passes."""
        self._now = to_milliseconds(self._now + timedelta(seconds=seconds))

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        self.advance(seconds)
        await asyncio.sleep(0)
