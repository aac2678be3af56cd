"""The model of docs/scaling.md."""

import pytest

from tests.bench.model import Cost

COST = Cost(
    seconds={1: 10.0, 2: 5.5},
    workers=9.0,
    database=1.5,
    broker=0.1,
    messages=30,
    tiles=1000,
    documents=1010,
    stored=10**7,
    index=20.0,
    blocks=20,
)


def test_the_fit_goes_through_what_was_measured() -> None:
    assert COST.one_slide(1) == pytest.approx(10.0)
    assert COST.one_slide(2) == pytest.approx(5.5)
    assert COST.serial == pytest.approx(1.0)
    assert COST.work == pytest.approx(9.0)


def test_more_workers_than_blocks_gain_nothing_for_one_slide() -> None:
    assert COST.one_slide(20) == COST.one_slide(1000)


def test_many_slides_are_as_fast_as_what_gives_out_first() -> None:
    assert COST.slides_per_hour(10, database_cores=3) == pytest.approx(3600 * 10 / 9)
    assert COST.enough_workers(3) == pytest.approx(18)
    assert COST.slides_per_hour(100, database_cores=3) == pytest.approx(3600 * 2)
