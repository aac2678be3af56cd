"""Each contract suite runs twice: on memory, and on a real MongoDB or RabbitMQ."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest
from pymongo import MongoClient

from deploy.local.rabbitmq import RabbitMQ
from shared.bus.rabbit import apply
from shared.mongo import connect
from tests.brokers import remove_topology

DATABASE = "contract"


class Real(NamedTuple):
    """A client, as `shared.mongo` makes it, and the name of a database for the test alone."""

    client: Any
    database: str


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.broker)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def plain_client(mongod: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """The driver by itself, for looking at what slidemill has stored."""
    with MongoClient[dict[str, Any]](mongod) as client:
        yield client


@pytest.fixture
async def emptied(mongod: str, plain_client: MongoClient[dict[str, Any]]) -> AsyncIterator[Real]:
    """The database keeps its indexes from test to test, since making them takes longer than most tests."""
    client = connect(mongod)
    yield Real(client, DATABASE)
    for name in plain_client[DATABASE].list_collection_names():
        plain_client[DATABASE][name].delete_many({})
    client.close()


@pytest.fixture
def real(kind: str, request: pytest.FixtureRequest) -> Real | None:
    """None on memory."""
    return request.getfixturevalue("emptied") if kind == "mongodb" else None


class Broker(NamedTuple):
    """A real broker, and a prefix on it for the tests of one module."""

    server: RabbitMQ
    prefix: str


@pytest.fixture(scope="module")
def prefix(rabbitmq: RabbitMQ) -> Iterator[str]:
    """Made once, since that takes longer than most tests."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    asyncio.run(apply(rabbitmq.amqp, prefix, "ours"))
    yield prefix
    asyncio.run(remove_topology(rabbitmq.amqp, prefix))


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.broker)])
def broker(request: pytest.FixtureRequest) -> Broker | None:
    """None on memory."""
    if request.param == "memory":
        return None
    return Broker(request.getfixturevalue("rabbitmq"), request.getfixturevalue("prefix"))
