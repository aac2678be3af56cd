"""What Prometheus reads of a service, and that the board asks for nothing else."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.sync.metrics import Imports
from shared.blobs.memory import MemoryBlobs
from shared.bus import Consumer, Environment
from shared.bus.memory import MemoryBroker, MemoryBus
from shared.bus.runner import Runner
from shared.clock import ManualClock
from shared.metrics import Family, exposition
from shared.store.documents.folders import FolderStore, Report
from shared.store.documents.ticks import Tick
from shared.store.memory import MemoryStore
from shared.tiles.memory import MemoryTiles

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
BOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "stores.json"


def test_labels_are_escaped_and_a_metric_without_values_is_left_out() -> None:
    files = Family("files_total", "counter", "Files.")
    files.add(1, {"store": 'a "b"\\\n'})
    files.add(2, {"store": 'a "b"\\\n'})
    bytes_ = Family("bytes", "gauge", "Bytes.")
    bytes_.set(12_345_678_901, {})

    assert [
        "# HELP files_total Files.",
        "# TYPE files_total counter",
        r'files_total{store="a \"b\"\\\n"} 3',
        "# HELP bytes Bytes.",
        "# TYPE bytes gauge",
        "bytes 12345678901",
    ] == exposition([files, bytes_, Family("none", "gauge", "None.")]).splitlines()


async def _families(tmp_path: Path) -> list[Family]:
    store, clock = MemoryStore(), ManualClock(NOW)
    watched = FolderStore(id="f" * 32, name="Scanner 1", root="/data", owner="a" * 32, created=NOW)
    await store.stores.insert(watched)
    report = Report(
        id="1" * 32, store=watched.id, tick="t", name="Scanner 1", order=-2, due=NOW, started=NOW, updated=NOW
    )
    ended = {"state": "done", "ended": NOW + timedelta(seconds=7), "seen": 5, "new": 3, "imported": 2, "bytes": 4096}
    await store.reports.insert(
        report.model_copy(update={**ended, "skipped": {"unstable": 2}}),
        report.model_copy(update={**ended, "id": "2" * 32, "order": -1, "seen": 4}),
        report.model_copy(update={"id": "3" * 32, "order": -3}),
    )
    await store.ticks.insert(
        Tick.at(NOW, started=NOW, done=True, ended=NOW + timedelta(seconds=2)),
        *(Tick.at(NOW - n * timedelta(minutes=5), started=NOW, missed=True) for n in (1, 2)),
    )
    imports = Imports()
    imports.count("slidemill", watched, "new", 4096)
    imports.count("slidemill", watched, "failed", 10)
    environments = {"slidemill": Environment(store, MemoryBlobs(tmp_path), MemoryTiles())}

    async def failed(*_: object, **__: object) -> list[object]:
        return []

    bus = MemoryBus(MemoryBroker(clock))
    consumer = Consumer(stage="sync", handlers={}, failed=failed, slots=1)  # type: ignore[arg-type]
    runner = Runner(bus, consumer, environments, clock)
    return [*await imports.families(environments), *await runner.metrics()]


async def test_the_last_run_of_a_store_that_has_ended_is_told(tmp_path: Path) -> None:
    lines = exposition(await _families(tmp_path)).splitlines()

    about = 'database="slidemill",store="Scanner 1"'
    assert {
        'slidemill_ticks_missed{database="slidemill"} 2',
        f'slidemill_tick_ended_seconds{{database="slidemill"}} {int(NOW.timestamp()) + 2}',
        f'slidemill_store_run_files{{{about},what="seen"}} 5',
        f'slidemill_store_run_files{{{about},what="new"}} 3',
        f'slidemill_store_run_files{{{about},what="vanished"}} 0',
        f'slidemill_store_run_skipped{{{about},reason="unstable"}} 2',
        f"slidemill_store_run_bytes{{{about}}} 4096",
        f"slidemill_store_run_seconds{{{about}}} 7",
        f"slidemill_store_run_ended_seconds{{{about}}} {int(NOW.timestamp()) + 7}",
        f'slidemill_store_imports_total{{{about},outcome="new"}} 1',
        f'slidemill_store_imports_total{{{about},outcome="failed"}} 1',
        f"slidemill_store_import_bytes_total{{{about}}} 4096",
    } <= set(lines)


async def test_the_board_asks_for_what_is_told(tmp_path: Path) -> None:
    told = {family.name for family in await _families(tmp_path)}
    asked = {
        name
        for panel in json.loads(BOARD.read_text())["panels"]
        for target in panel["targets"]
        for name in re.findall(r"slidemill_\w+", target["expr"])
    }

    assert told == asked
