"""The negative controls are caught, and only they."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.rabbitmq import RabbitMQ
from tests.brokers import own_prefix
from tests.chaos.controls import CARELESS, under_fire

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
async def prefix(rabbitmq: RabbitMQ) -> AsyncIterator[str]:
    async with own_prefix(rabbitmq) as prefix:
        yield prefix


async def test_with_care_nothing_is_lost(rabbitmq: RabbitMQ, prefix: str) -> None:
    verdict = await under_fire("careful", rabbitmq, prefix)

    assert verdict.clean, verdict.complaints


@pytest.mark.parametrize("care", CARELESS)
async def test_without_care_the_checker_finds_what_was_lost(rabbitmq: RabbitMQ, prefix: str, care: str) -> None:
    verdict = await under_fire(care, rabbitmq, prefix)

    assert verdict.lost > 0
    assert all(line.startswith("lost: ") for line in verdict.complaints)
