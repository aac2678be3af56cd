"""Every outcome of a delivery, on the memory bus with a clock that stands until it is slept on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.blobs import Blobs
from shared.blobs.memory import MemoryBlobs
from shared.bus import Consumer, Environment, Message
from shared.bus.envelope import REPLAY, decode, expiring
from shared.bus.limits import HANDLING_SECONDS, WAITING_SECONDS
from shared.bus.memory import MemoryBroker, MemoryBus, Stored
from shared.bus.runner import Runner
from shared.clock import ManualClock
from shared.errors import Postponed, Reject, RetryLater, Unavailable
from shared.events import BaseDiced, DiceBlock, Event, FileComplete, ImageFailed, Lane, SyncTick
from shared.store import Store
from shared.store.memory import MemoryStore
from shared.tiles import Tiles
from shared.tiles.memory import MemoryTiles
from tests.events import IMAGE, base_diced, dice_block, file_complete, image_id

START = datetime(2026, 1, 2, tzinfo=UTC)
PATIENCE = 20.0

Answer = Callable[[Any], Awaitable[list[Event]]]


def of_image(number: int) -> FileComplete:
    return file_complete(image=image_id(number))


class Doctor(MemoryStore):
    """A store that can be down."""

    down = False

    async def ping(self) -> None:
        if self.down:
            raise Unavailable("MongoDB can't be reached.")


class Mill:
    """A dicer whose handlers a test gives, and everything around it."""

    def __init__(self, scratch: Path) -> None:
        self.clock = ManualClock(START)
        self.broker = MemoryBroker(self.clock)
        self.bus = MemoryBus(self.broker)
        self.store = Doctor()
        self.environments = {"slidemill": Environment(self.store, MemoryBlobs(scratch), MemoryTiles())}
        self.calls: list[tuple[Event, datetime]] = []
        self.failures: list[tuple[Event, str, str]] = []
        self.stop = asyncio.Event()

    def consumer(self, answers: Mapping[type[Event], Answer], slots: int = 1) -> Consumer:
        def handler(answer: Answer) -> Any:
            async def handle(event: Any, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
                assert Environment(store, blobs, tiles) == self.environments[event.database]
                self.calls.append((event, self.clock.now()))
                return await answer(event)

            return handle

        return Consumer("dicer", {event: handler(answer) for event, answer in answers.items()}, self.failed, slots)

    async def failed(self, event: Any, reason: str, remedy: str, *, store: Store) -> list[Event]:
        self.failures.append((event, reason, remedy))
        return [
            ImageFailed(
                database=event.database,
                time=START,
                image=event.image,
                version=event.version,
                stage="dice",
                reason=reason,
                remedy=remedy,
            )
        ]

    @asynccontextmanager
    async def running(
        self,
        answers: Mapping[type[Event], Answer],
        *,
        slots: int = 1,
        grace: float = PATIENCE,
        waiting: float = WAITING_SECONDS,
        handling: float = HANDLING_SECONDS,
    ) -> AsyncIterator["asyncio.Task[None]"]:
        """The runner at work; it is stopped in order at the end, and must then end well."""
        bus = MemoryBus(self.broker)
        consumer = self.consumer(answers, slots)
        self.runner = Runner(
            bus, consumer, self.environments, self.clock, grace=grace, waiting=waiting, handling=handling
        )
        task = asyncio.create_task(self.runner.run(self.stop))
        try:
            yield task
            self.stop.set()
            async with asyncio.timeout(PATIENCE):
                await task
        finally:
            task.cancel()
            await asyncio.wait([task])
            await bus.close()

    async def publish(self, *events: Event, headers: Mapping[str, Any] | None = None) -> None:
        await self.bus.publish([Message(event, headers or {}) for event in events])

    def dead(self) -> list[Stored]:
        return self.broker.dead["dicer"]

    def ready(self, lane: Lane, stage: str = "dicer") -> list[Stored]:
        return list(self.broker[f"slidemill.{stage}.{lane}"].ready)

    def facts(self, event: type[Event]) -> list[Event]:
        return [fact for fact in self.broker.journal if isinstance(fact, event)]


@pytest.fixture
def mill(tmp_path: Path) -> Mill:
    return Mill(tmp_path)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


async def nothing(event: Event) -> list[Event]:
    return []


def raising(*outcomes: BaseException | Iterable[Event]) -> Answer:
    """A handler that does these in turn, the last one for ever."""
    left = list(outcomes)

    async def answer(event: Event) -> list[Event]:
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return list(outcome)

    return answer


async def test_what_a_handler_returns_is_published_and_the_delivery_acked(mill: Mill) -> None:
    await mill.publish(file_complete(), headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})

    async with mill.running({FileComplete: raising([base_diced()])}):
        await until(lambda: mill.ready("express", "pyramid"))

    (sent,) = mill.ready("express", "pyramid")
    event = decode(sent.headers, sent.body)
    assert event == base_diced().model_copy(update={"cause": file_complete().id})
    assert sent.headers["ce-causationid"] == file_complete().id
    trace = sent.headers["traceparent"].split("-")
    assert (trace[1], trace[2]) != ("a" * 32, "b" * 16)
    assert trace[1] == "a" * 32
    assert len(mill.calls) == 1
    assert not mill.ready("express")


async def test_a_service_that_dies_before_its_ack_repeats_the_work(mill: Mill) -> None:
    """The same delivery is handled again by another service."""
    held = asyncio.Event()

    async def dies(event: Event) -> list[Event]:
        held.set()
        await asyncio.Event().wait()
        return []

    bus = MemoryBus(mill.broker)
    task = asyncio.create_task(
        Runner(bus, mill.consumer({FileComplete: dies}), mill.environments, mill.clock).run(mill.stop)
    )
    await mill.publish(file_complete())
    await held.wait()
    task.cancel()
    await asyncio.wait([task])
    await bus.close()

    async with mill.running({FileComplete: nothing}):
        await until(lambda: len(mill.calls) == 2)

    assert [event for event, _ in mill.calls] == [file_complete(), file_complete()]


async def test_while_the_database_is_away_nothing_more_is_taken_and_no_attempt_is_spent(mill: Mill) -> None:
    mill.store.down = True
    probed = asyncio.Event()
    ping = mill.store.ping

    async def noticed() -> None:
        probed.set()
        await ping()

    mill.store.ping = noticed  # type: ignore[method-assign]
    await mill.publish(file_complete(1), file_complete(2))

    async with mill.running({FileComplete: raising(Unavailable("MongoDB can't be reached."), [])}):
        await probed.wait()
        await asyncio.sleep(0)
        assert [event for event, _ in mill.calls] == [file_complete(1)]
        mill.store.down = False
        await until(lambda: len(mill.calls) == 3)

    assert [event for event, _ in mill.calls] == [file_complete(1), file_complete(1), file_complete(2)]
    assert not mill.dead()
    assert not mill.failures
    assert not mill.broker.delayed


async def test_all_slots_pause_while_one_waits_for_the_database(mill: Mill) -> None:
    mill.store.down = True

    async def answer(event: FileComplete) -> list[Event]:
        if mill.store.down:
            raise Unavailable("MongoDB can't be reached.")
        return []

    async with mill.running({FileComplete: answer}, slots=2):
        await mill.publish(file_complete(1))
        await until(lambda: mill.clock.now() > START)
        await mill.publish(file_complete(2))
        seen = mill.clock.now()
        await until(lambda: mill.clock.now() > seen + timedelta(seconds=30))
        assert {event for event, _ in mill.calls} == {file_complete(1)}
        mill.store.down = False
        await until(lambda: {event for event, _ in mill.calls} == {file_complete(1), file_complete(2)})


async def test_what_could_not_be_published_is_handled_again(mill: Mill) -> None:
    class Refusing(MemoryBus):
        refusals = 1

        async def publish(self, messages: Any) -> None:
            if self.refusals and messages:
                self.refusals -= 1
                raise Unavailable("The broker refused it; its queue may be full.")
            await super().publish(messages)

    bus = Refusing(mill.broker)
    await mill.publish(file_complete())
    runner = Runner(bus, mill.consumer({FileComplete: raising([base_diced()])}), mill.environments, mill.clock)
    task = asyncio.create_task(runner.run(mill.stop))
    await until(lambda: mill.facts(BaseDiced))
    mill.stop.set()
    await task

    assert len(mill.calls) == 2
    assert len(mill.facts(BaseDiced)) == 1


async def test_after_twenty_minutes_the_service_gives_the_message_back_and_ends(mill: Mill) -> None:
    mill.store.down = True
    bus = MemoryBus(mill.broker)
    await mill.publish(file_complete())
    consumer = mill.consumer({FileComplete: raising(Unavailable("MongoDB can't be reached."))})

    with pytest.raises(Unavailable, match="20 minutes"):
        await Runner(bus, consumer, mill.environments, mill.clock).run(mill.stop)

    assert timedelta(minutes=20) <= mill.clock.now() - START < timedelta(minutes=21)
    (message,) = mill.ready("express")
    assert message.redelivered
    assert not mill.dead()


async def test_a_retry_waits_ten_seconds_a_minute_and_ten_minutes_and_then_fails_the_image(mill: Mill) -> None:
    await mill.publish(file_complete())

    async with mill.running({FileComplete: raising(RetryLater("the file is still being fetched"))}):
        await until(mill.dead)

    times = [(at - START).total_seconds() for _, at in mill.calls]
    assert times == [0, 10, 70, 670]
    ((event, reason, remedy),) = mill.failures
    assert event == file_complete()
    assert "4 tries (the file is still being fetched)" in reason
    assert "operator" in remedy
    assert len(mill.facts(ImageFailed)) == 1
    (letter,) = mill.dead()
    assert letter.headers["x-slidemill-cause"] == "retries"
    assert letter.headers["x-slidemill-detail"] == "the file is still being fetched"
    assert letter.headers["x-slidemill-stage"] == "dicer"


async def test_what_passes_in_time_is_not_failed(mill: Mill) -> None:
    await mill.publish(file_complete())

    async with mill.running({FileComplete: raising(RetryLater("not yet"), RetryLater("not yet"), [base_diced()])}):
        await until(lambda: mill.facts(BaseDiced))

    assert len(mill.calls) == 3
    assert not mill.failures
    assert not mill.dead()


async def test_a_bug_is_logged_with_its_traceback_and_tried_again(mill: Mill) -> None:
    await mill.publish(file_complete())

    with capture_logs() as lines:
        async with mill.running({FileComplete: raising(ZeroDivisionError("division by zero"))}):
            await until(mill.dead)

    bugs = [line for line in lines if line["event"] == "bug in a handler"]
    assert len(bugs) == 4
    assert all(line["exc_info"] for line in bugs)
    assert mill.dead()[0].headers["x-slidemill-detail"] == "ZeroDivisionError: division by zero"
    assert len(mill.failures) == 1


async def test_a_rejected_slide_fails_at_once_with_its_reason(mill: Mill) -> None:
    await mill.publish(file_complete())

    async with mill.running({FileComplete: raising(Reject("a.svs is a text file.", "Send a slide.", "no magic"))}):
        await until(mill.dead)

    assert len(mill.calls) == 1
    assert mill.failures == [(file_complete(), "a.svs is a text file.", "Send a slide.")]
    (fact,) = mill.facts(ImageFailed)
    assert isinstance(fact, ImageFailed)
    assert (fact.reason, fact.remedy, fact.cause) == ("a.svs is a text file.", "Send a slide.", file_complete().id)
    (letter,) = mill.dead()
    assert letter.headers["x-slidemill-cause"] == "reject"
    assert letter.headers["x-slidemill-detail"] == "a.svs is a text file. Send a slide. no magic"
    assert decode(letter.headers, letter.body) == file_complete()


async def test_a_bug_in_recording_a_failure_does_not_keep_the_message(mill: Mill) -> None:
    async def broken(event: Any, reason: str, remedy: str, *, store: Store) -> list[Event]:
        raise ZeroDivisionError

    mill.failed = broken  # type: ignore[method-assign]
    await mill.publish(file_complete())

    async with mill.running({FileComplete: raising(Reject("a.svs is a text file.", "Send a slide."))}):
        await until(mill.dead)

    assert not mill.ready("express")


@pytest.mark.parametrize(
    ("headers", "body", "cause", "detail"),
    [
        ({}, b"{}", "undecodable", "no header ce-type"),
        ({"ce-type": "slidemill.polish-glass.v1"}, b"{}", "undecodable", "slidemill.polish-glass.v1"),
        ({"ce-type": "slidemill.file-complete.v2"}, b"{}", "undecodable", "a newer one may know it"),
        ({"ce-type": 7}, b"{}", "undecodable", "no header ce-type"),
        ({"ce-type": FileComplete.type}, b"\xff\xfe", "undecodable", "Invalid JSON"),
        pytest.param({"ce-type": FileComplete.type}, b"[" * 100_000, "undecodable", "Invalid JSON", id="nested"),
        pytest.param({"ce-type": FileComplete.type}, b"x" * 10_000_000, "undecodable", "Invalid JSON", id="large"),
        ({"ce-type": FileComplete.type, "x-slidemill-attempt": "many", "traceparent": 7}, b"1", "undecodable", "body"),
        ({"ce-type": FileComplete.type}, b'{"version": 1e99}', "undecodable", "not as it should be"),
        ({"ce-type": FileComplete.type}, b"not json", "undecodable", "Invalid JSON"),
        ({"ce-type": FileComplete.type}, b'{"database": "slidemill"}', "undecodable", "time"),
        ({"ce-type": SyncTick.type}, b'{"database":"d","time":0,"due":0}', "undecodable", "No handler here takes"),
        (
            {"ce-type": FileComplete.type},
            file_complete(database="other").model_dump_json().encode(),
            "unserved",
            "other",
        ),
    ],
)
async def test_what_is_not_for_this_service_is_dead_lettered_unhandled(
    mill: Mill, headers: dict[str, Any], body: bytes, cause: str, detail: str
) -> None:
    mill.broker.put("slidemill.dicer.express", Stored(headers, body, "slidemill.events:fact.unknown"))
    await mill.publish(file_complete())

    async with mill.running({FileComplete: nothing}):
        await until(lambda: mill.calls)

    (letter,) = mill.dead()
    assert letter.headers["x-slidemill-cause"] == cause
    assert detail in letter.headers["x-slidemill-detail"]
    assert letter.headers["x-slidemill-routing"] == "slidemill.events:fact.unknown"
    assert letter.body == body
    assert [event for event, _ in mill.calls] == [file_complete()]
    assert not mill.failures


async def test_a_message_that_nobody_needs_any_more_is_dropped(mill: Mill) -> None:
    await mill.publish(file_complete(1), headers=expiring(START))
    await mill.publish(file_complete(2), headers=expiring(START + timedelta(seconds=1)))

    async with mill.running({FileComplete: nothing}):
        await until(lambda: mill.calls)

    assert [event for event, _ in mill.calls] == [file_complete(2)]
    assert not mill.dead()


async def test_what_a_replay_brings_about_stays_behind_everything_else(mill: Mill) -> None:
    await mill.publish(file_complete(), headers={REPLAY: "1"})

    async with mill.running({FileComplete: raising([base_diced()])}):
        await until(lambda: mill.ready("bulk", "pyramid"))

    assert mill.ready("bulk", "pyramid")[0].headers[REPLAY] == "1"
    assert not mill.ready("express", "pyramid")


async def test_the_first_slot_serves_express_first_and_the_others_bulk_first(mill: Mill) -> None:
    order: list[tuple[int, Lane]] = []
    gates = [asyncio.Event(), asyncio.Event()]

    async def answer(event: DiceBlock) -> list[Event]:
        order.append((event.block, event.lane))
        if event.block < 2:
            await gates[event.block].wait()
        return []

    async with mill.running({DiceBlock: answer}, slots=2):
        await mill.publish(dice_block(0, "express"), dice_block(1, "bulk"))
        await until(lambda: len(order) == 2)
        await mill.publish(dice_block(2, "bulk"), dice_block(3, "express"))
        await until(lambda: not mill.ready("bulk") and not mill.ready("express"))
        # Slot 0 took the express block, as it was free for it; with both kinds waiting it takes express again.
        gates[0].set()
        await until(lambda: len(order) == 4)
        gates[1].set()

    assert order[2:] == [(3, "express"), (2, "bulk")]


async def test_a_huge_slide_does_not_keep_a_small_one_waiting(mill: Mill) -> None:
    """However many bulk blocks wait, one slot is for express work."""
    done: list[DiceBlock] = []

    async def answer(event: DiceBlock) -> list[Event]:
        for _ in range(5):
            await asyncio.sleep(0)
        done.append(event)
        return []

    await mill.publish(*(dice_block(block) for block in range(500)))
    async with mill.running({DiceBlock: answer}, slots=2):
        await until(lambda: len(done) >= 10)
        await mill.publish(*(dice_block(block, "express") for block in range(1000, 1005)))
        await until(lambda: len([event for event in done if event.lane == "express"]) == 5)
        assert len(done) < 60
        await until(lambda: len(done) == 505)


async def test_a_stop_lets_the_running_handler_finish_and_gives_the_waiting_ones_back(mill: Mill) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answer(event: Event) -> list[Event]:
        begun.set()
        await go_on.wait()
        return [base_diced()]

    await mill.publish(file_complete(1), file_complete(2))
    async with mill.running({FileComplete: answer, DiceBlock: answer}, slots=1) as task:
        await begun.wait()
        await mill.publish(dice_block(1))
        await until(lambda: not mill.ready("bulk"))
        mill.stop.set()
        await until(lambda: mill.ready("bulk"))
        assert not task.done()
        go_on.set()

    assert len(mill.calls) == 1
    assert len(mill.facts(BaseDiced)) == 1
    assert [decode(one.headers, one.body) for one in mill.ready("express")] == [file_complete(2)]
    assert [decode(one.headers, one.body) for one in mill.ready("bulk")] == [dice_block(1)]


async def test_a_handler_that_does_not_end_is_left_behind_at_the_deadline_and_its_message_comes_again(
    mill: Mill,
) -> None:
    begun = asyncio.Event()

    async def endless(event: Event) -> list[Event]:
        begun.set()
        await asyncio.Event().wait()
        return []

    await mill.publish(file_complete())
    async with mill.running({FileComplete: endless}, grace=0.05):
        await begun.wait()

    assert [one.redelivered for one in mill.ready("express")] == [True]


async def test_a_stop_does_not_wait_for_a_database_that_is_away(mill: Mill) -> None:
    mill.store.down = True
    await mill.publish(file_complete())

    async with mill.running({FileComplete: raising(Unavailable("MongoDB can't be reached."))}):
        await until(lambda: mill.calls)

    assert len(mill.ready("express")) == 1


async def test_every_message_has_one_line_in_the_log(mill: Mill) -> None:
    await mill.publish(file_complete(3), headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})

    with capture_logs() as lines:
        async with mill.running({FileComplete: nothing}):
            await until(lambda: mill.calls)

    (line,) = [line for line in lines if line["event"] == "message"]
    assert line == {
        "event": "message",
        "log_level": "info",
        "stage": "dicer",
        "type": FileComplete.type,
        "id": file_complete(3).id,
        "image": IMAGE,
        "version": 3,
        "lane": "express",
        "attempt": 1,
        "redelivered": False,
        "trace_id": "a" * 32,
        "outcome": "handled",
        "seconds": 0.0,
    }


async def paused(mill: Mill) -> str:
    try:
        await mill.runner.ready()
    except Unavailable as error:
        return str(error)
    return ""


class Release:
    """A deployment whose handler has a bug until it is mended."""

    def __init__(self) -> None:
        self.broken = True

    async def answer(self, event: Event) -> list[Event]:
        if self.broken:
            raise ZeroDivisionError(event.correlation)
        return []


@pytest.mark.parametrize("slots", [1, 4])
async def test_a_bad_release_does_not_dead_letter_the_backlog(mill: Mill, slots: int) -> None:
    release = Release()
    images = {of_image(number).image for number in range(200)}
    await mill.publish(*(of_image(number) for number in range(200)))

    with capture_logs() as lines:
        async with mill.running({FileComplete: release.answer}, slots=slots):
            await until(lambda: mill.clock.now() > START + timedelta(hours=8))
            assert "died of one bug, ZeroDivisionError in Release.answer (test_runner.py:" in await paused(mill)
            assert not mill.dead()
            assert not mill.failures
            release.broken = False
            mill.calls.clear()
            await until(lambda: {event.correlation for event, _ in mill.calls} == images)
            assert not await paused(mill)

    assert not mill.dead()
    assert not mill.failures
    assert [line for line in lines if line["event"] == "paused"]
    assert [line for line in lines if line["event"] == "goes on"]


async def test_a_paused_consumer_stops_at_once(mill: Mill) -> None:
    class StandsStill(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    await mill.publish(*(of_image(number) for number in range(30)))
    mill.clock = StandsStill(START)

    with capture_logs():
        async with mill.running({FileComplete: Release().answer}):
            async with asyncio.timeout(PATIENCE):
                while not await paused(mill):
                    await asyncio.sleep(0)

    assert not mill.dead()


async def test_one_image_with_a_bug_of_its_own_does_not_stop_the_stage(mill: Mill) -> None:
    """However many blocks it has."""

    async def answer(event: DiceBlock) -> list[Event]:
        raise ZeroDivisionError

    await mill.publish(*(dice_block(block) for block in range(60)))
    with capture_logs() as lines:
        async with mill.running({DiceBlock: answer}, slots=2):
            await until(lambda: len(mill.dead()) == 60)

    assert not [line for line in lines if line["event"] == "paused"]


async def test_what_dies_now_and_then_does_not_stop_the_stage(mill: Mill) -> None:
    async def answer(event: FileComplete) -> list[Event]:
        if int(event.image, 16) % 3 == 0:
            raise ZeroDivisionError
        return []

    await mill.publish(*(of_image(number) for number in range(90)))
    with capture_logs() as lines:
        async with mill.running({FileComplete: answer}):
            await until(lambda: len(mill.calls) >= 90)
            assert not await paused(mill)

    assert not [line for line in lines if line["event"] == "paused"]


async def test_other_kinds_go_on_between_two_tries_while_one_kind_dies(mill: Mill) -> None:
    release = Release()
    done: list[Event] = []

    async def cut(event: DiceBlock) -> list[Event]:
        done.append(event)
        return []

    with capture_logs():
        async with mill.running({FileComplete: release.answer, DiceBlock: cut}):
            await mill.publish(*(of_image(number) for number in range(20)))
            async with asyncio.timeout(PATIENCE):
                while not await paused(mill):
                    await asyncio.sleep(0)
            await mill.publish(*(dice_block(block) for block in range(5)))
            await until(lambda: len(done) == 5)
            assert await paused(mill)

    assert not mill.dead()


async def test_a_database_that_is_away_for_a_quarter_of_an_hour_costs_two_hundred_images_nothing(mill: Mill) -> None:
    mill.store.down = True

    async def answer(event: FileComplete) -> list[Event]:
        if mill.store.down:
            raise Unavailable("MongoDB can't be reached.")
        return []

    await mill.publish(*(of_image(number) for number in range(200)))
    async with mill.running({FileComplete: answer}, slots=4):
        await until(lambda: mill.clock.now() >= START + timedelta(minutes=15))
        mill.store.down = False
        mill.calls.clear()
        await until(lambda: len(mill.calls) >= 200)

    assert len({event.correlation for event, _ in mill.calls}) == 200
    assert not mill.dead()
    assert not mill.failures
    assert not mill.broker.delayed


async def test_what_waits_for_something_under_way_comes_every_ten_seconds_and_is_never_given_up(mill: Mill) -> None:
    await mill.publish(file_complete())
    later = [Postponed("a.svs is still being fetched.")] * 6

    async with mill.running({FileComplete: raising(*later, [base_diced()])}):
        await until(lambda: mill.facts(BaseDiced))

    assert [(at - START).total_seconds() for _, at in mill.calls] == [0, 10, 20, 30, 40, 50, 60]
    assert not mill.failures
    assert not mill.dead()


async def test_a_handler_that_never_ends_is_stopped_before_the_broker_takes_its_message_back(mill: Mill) -> None:
    async def endless(event: Event) -> list[Event]:
        await asyncio.Event().wait()
        return []

    await mill.publish(dice_block(7))

    async with mill.running({DiceBlock: endless}, handling=0.03):
        await until(mill.dead)

    assert len(mill.calls) == 4
    ((_, reason, _),) = mill.failures
    assert "4 tries (slidemill.dice-block.v1 of block 7 took longer than 0.0005 minutes)" in reason


async def test_what_waits_behind_long_work_is_put_off_before_the_broker_takes_it_back(mill: Mill) -> None:
    busy, done = asyncio.Event(), asyncio.Event()

    async def long(event: Event) -> list[Event]:
        busy.set()
        await done.wait()
        return []

    async with mill.running({FileComplete: long, DiceBlock: nothing}, waiting=0.05):
        await mill.publish(file_complete())
        await busy.wait()
        await mill.publish(dice_block(1))
        await until(lambda: mill.broker.delayed)
        assert not mill.ready("bulk")
        done.set()
        mill.clock.advance(60)
        await until(lambda: len(mill.calls) == 2)

    assert not mill.failures
