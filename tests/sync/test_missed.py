"""Every due tick is done once or marked as missed, and nothing is missed that was never due."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sync.handler import TickHandler
from services.sync.missed import MOST_MARKED, between
from services.sync.runs import STILL
from services.sync.timer import due_tick, keep_ticking
from shared.bus import Message
from shared.bus.memory import MemoryBus
from shared.events import SyncTick
from shared.store.documents.ticks import Tick
from tests.sync.conftest import NOW, House
from tests.sync.watching import STORE, Watch, slide

MINUTE = timedelta(minutes=1)
SHORTEST = 20


class Hours:
    """A day's ticks, of a timer that publishes every five minutes unless told otherwise, for a handler that runs."""

    def __init__(self, house: House) -> None:
        self.store = house.store
        self.clock = house.clock
        self._house = house
        self._handler = TickHandler(house.bus, house.clock, timedelta(hours=1))

    async def tick(self, minutes: int, *, interval: int | None = 300, since: int | None = None) -> Tick:
        due = NOW + minutes * MINUTE
        self.clock.set((due - self.clock.now()).total_seconds())
        start = None if since is None else NOW + since * MINUTE
        event = SyncTick(database="slidemill", time=due, due=due, interval=interval, since=start)
        await self._handler(event, store=self.store, blobs=self._house.blobs, tiles=self._house.tiles)
        done = await self.store.ticks.get(due.isoformat())
        assert done is not None
        assert (True, False) == (done.done, done.missed)
        return done

    async def missed(self) -> list[int]:
        found = await self.store.ticks.find({"missed": True})
        assert not any(tick.done for tick in found)
        return [(tick.due - NOW) // MINUTE for tick in found]


@pytest.fixture
def hours(house: House) -> Hours:
    return Hours(house)


async def test_what_nobody_did_is_marked_by_the_next_tick_that_is_done(hours: Hours) -> None:
    await hours.tick(0)
    assert 0 == (await hours.tick(5)).report["missed"]

    late = await hours.tick(20)

    assert 2 == late.report["missed"]
    assert [10, 15] == await hours.missed()


async def test_a_new_deployment_and_one_that_never_said_its_interval_have_missed_nothing(hours: Hours) -> None:
    assert 0 == (await hours.tick(0)).report["missed"]
    await hours.tick(60, interval=None)
    await hours.store.ticks.delete({"interval": 300})

    assert 0 == (await hours.tick(120)).report["missed"]
    assert [] == await hours.missed()


async def test_another_interval_has_missed_nothing_of_the_former_one(hours: Hours) -> None:
    await hours.tick(0)

    assert 0 == (await hours.tick(60, interval=60)).report["missed"]
    assert 1 == (await hours.tick(62, interval=60)).report["missed"]
    assert 0 == (await hours.tick(120)).report["missed"]
    assert [61] == await hours.missed()


async def test_what_a_clock_was_set_over_is_not_missed_and_what_came_then_is(hours: Hours) -> None:
    await hours.tick(0)

    late = await hours.tick(75, since=60)

    assert 3 == late.report["missed"]
    assert [60, 65, 70] == await hours.missed()


async def test_after_a_long_pause_the_newest_are_marked_and_all_are_counted(hours: Hours) -> None:
    await hours.tick(0)

    assert 2015 == (await hours.tick(7 * 24 * 60)).report["missed"]
    marked = await hours.missed()
    assert (MOST_MARKED, 7 * 24 * 60 - 5) == (len(marked), marked[-1])


async def test_a_tick_that_nobody_ended_is_missed_until_somebody_does(hours: Hours) -> None:
    await hours.tick(0)
    await hours.store.ticks.insert(Tick.at(NOW + 5 * MINUTE, started=NOW + 5 * MINUTE, interval=300))

    assert 1 == (await hours.tick(10)).report["missed"]
    assert [5] == await hours.missed()
    await hours.tick(5)

    assert [] == await hours.missed()


async def test_somebodys_own_tick_is_given_up_after_a_long_while(hours: Hours) -> None:
    await hours.tick(0)
    asked = NOW + timedelta(minutes=1, milliseconds=1)
    await hours.store.ticks.insert(Tick.at(asked, started=asked))

    await hours.tick(5)
    assert [] == await hours.missed()
    hours.clock.advance(STILL.total_seconds())
    await hours.tick(45)

    assert 1 in await hours.missed()


async def test_when_the_clock_is_set_back_what_was_done_ahead_is_done_again(house: House, tmp_path: Path) -> None:
    root = tmp_path / "slides"
    root.mkdir()
    watch = Watch(root, house.store, {"blobs": house.blobs, "tiles": house.tiles}, house.bus, house.clock)
    await watch.add()
    house.clock.set(3600)
    await watch.tick()
    house.clock.set(-3600)
    await watch.tick()
    watch.put("a.svs", slide("a"))

    report = await watch.tick(seconds=3600 - 300)

    assert ("done", 1) == (report.state, report.imported)
    assert 3 > await house.store.reports.count({"store": STORE})


@given(
    gap=st.integers(1, 5000),
    interval=st.integers(1, 86400),
    since=st.none() | st.integers(-5, 5000),
)
def test_between_two_ticks_lie_all_due_times_and_no_other(gap: int, interval: int, since: int | None) -> None:
    last = due_tick(NOW, interval)
    step = timedelta(seconds=interval)

    missed = between(last, last + gap * step, interval, None if since is None else last + since * step)

    expected = [last + n * step for n in range(max(1, since or 1), gap)]
    assert (len(expected), expected[-MOST_MARKED:]) == (missed.number, missed.newest)


class Weather:
    """Time as it passes, and as a clock shows it that somebody sets, with what was due in it."""

    def __init__(self, house: House, script: Sequence[tuple[str, float]]) -> None:
        self._house = house
        self.script = list(script)
        self._handler = TickHandler(house.bus, house.clock, timedelta(hours=1))
        self.interval = 60
        self.serving = True
        self.owed = set[datetime]()
        self.set_over = set[datetime]()
        self.set_back = self.forgetful = False
        self.latest = house.clock.now()
        # Another interval is known from a tick that was done with it.
        self.heard = True
        self.due = {due_tick(house.clock.now(), self.interval)}

    def now(self) -> datetime:
        return self._house.clock.now()

    def elapsed(self) -> float:
        return self._house.clock.elapsed()

    def pass_by(self, seconds: float) -> None:
        before = self.now()
        self._house.clock.advance(seconds)
        passed = self._since(before, self.interval)
        self.due |= passed if self.heard else self._since(before, SHORTEST)
        if self.heard:
            self.owed |= passed

    def put_clock(self, seconds: float) -> None:
        before = self.now()
        self.latest = max(self.latest, before)
        self._house.clock.set(seconds)
        self.due.add(due_tick(self.now(), self.interval))
        self.set_over |= self._since(before, SHORTEST)
        if seconds < 0:
            # What comes a second time may have been done the first time, and hides what was due before it.
            self.set_back, self.heard = True, False
        self.forgetful = True
        self.owed.clear()

    def _since(self, before: datetime, interval: int) -> set[datetime]:
        last, step = due_tick(self.now(), interval), timedelta(seconds=interval)
        return {last - n * step for n in range(max(0, -(-(last - before) // step)))}

    async def sleep(self, seconds: float) -> None:
        self.pass_by(seconds)
        if not self.script:
            raise asyncio.CancelledError
        what, amount = self.script.pop(0)
        match what:
            case "pause":
                self.pass_by(amount * self.interval)
            case "set":
                self.put_clock(amount * self.interval)
            case "serve":
                self.serving = not self.serving
            case "interval":
                self.interval, self.heard = int(amount), False
                self.owed.clear()
                self.due.add(due_tick(self.now(), self.interval))
                raise asyncio.CancelledError
            case "restart":
                raise asyncio.CancelledError

    async def take(self, event: SyncTick) -> None:
        house, id = self._house, event.due.isoformat()
        if not self.serving or ((before := await house.store.ticks.get(id)) and before.done):
            return
        await self._handler(event, store=house.store, blobs=house.blobs, tiles=house.tiles)
        self.forgetful = self.set_back
        self.heard = self.heard or event.due > self.latest
        self.latest = max(self.latest, event.due)

    async def run(self) -> None:
        weather = self

        class Line(MemoryBus):
            async def publish(self, messages: Sequence[Message]) -> None:
                for message in messages:
                    assert isinstance(message.event, SyncTick)
                    await weather.take(message.event)

        while self.script:
            with suppress(asyncio.CancelledError):
                await keep_ticking(Line(), databases=["slidemill"], interval=self.interval, clock=self)
            if self.forgetful:
                # That a clock was set is known from a timer that lived then: one that ends before a tick of its was
                # done takes that with it.
                self.due |= self.set_over


CALM = ("calm", 0.0)
EVENTS = st.one_of(
    st.just(CALM),
    st.tuples(st.just("pause"), st.floats(0, 5)),
    st.tuples(st.just("set"), st.floats(-300, 300)),
    st.just(("serve", 0.0)),
    st.just(("restart", 0.0)),
    st.tuples(st.just("interval"), st.sampled_from([60.0, float(SHORTEST)])),
)


@settings(max_examples=60, deadline=None)
@given(script=st.lists(EVENTS, max_size=40))
async def test_whatever_becomes_of_timers_clocks_and_services_each_due_tick_is_done_or_missed(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, float]]
) -> None:
    house = House(tmp_path_factory.mktemp("house"))
    weather = Weather(house, script)
    await weather.run()
    first = await house.store.ticks.find({"done": True}, limit=1)
    weather.serving = True
    weather.script += [CALM] * 40
    await weather.run()

    ticks = {tick.due: tick for tick in await house.store.ticks.find({})}
    newest = max(due for due, tick in ticks.items() if tick.done)
    if first:
        settled = {due for due in weather.owed if first[0].due < due < newest}
        assert settled <= set(ticks)
    for due, tick in ticks.items():
        assert tick.done is not tick.missed or due > newest
        assert tick.done or due in weather.due
