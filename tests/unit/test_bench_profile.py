"""What the profile of the bench makes of recorded stacks."""

from tests.bench.profile import OTHER, looks_by_step

_HOME = "/home/one/slidemill/"
_LIBRARY = "/usr/lib/python3.11/"


def test_the_deepest_frame_that_is_known_says_the_step() -> None:
    reading = (
        f"_rows ({_HOME}services/dicer/pixels/pictures.py);Region.fetch ({_LIBRARY}site-packages/pyvips/vregion.py)"
    )
    recorded = "\n".join(
        (
            f"child;cut ({_HOME}services/dicer/pixels/rows.py);encode ({_HOME}shared/tiles/pixels.py) 7",
            f"child;cut ({_HOME}services/dicer/pixels/rows.py);{reading} 5",
            f"child;fold ({_HOME}services/dicer/pixels/rows.py) 2",
            f"service;_fill ({_HOME}shared/decoding/feeding.py) 3",
            f"service;_run ({_LIBRARY}asyncio/events.py) 1",
        )
    )

    assert looks_by_step(recorded) == {
        "encode": 7,
        "decode": 5,
        "box means, putting tiles together": 2,
        "read": 3,
        OTHER: 1,
    }


def test_a_thread_that_waits_is_at_no_step() -> None:
    waits = (
        f"_worker ({_LIBRARY}concurrent/futures/thread.py)",
        f"Condition.wait ({_LIBRARY}threading.py)",
        f"EpollSelector.select ({_LIBRARY}selectors.py)",
        f"PeriodicExecutor._run ({_LIBRARY}site-packages/pymongo/periodic_executor.py)",
    )

    assert not looks_by_step("\n".join(f"service;{wait} 4" for wait in waits))
