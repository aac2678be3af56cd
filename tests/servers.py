"""Private MongoDB and RabbitMQ for a test session: one of each, shared by its tests, which use names of their own."""

import os
from collections.abc import Iterator

import pytest

from deploy.local.mongod import Mongod
from deploy.local.ports import free_port
from deploy.local.rabbitmq import SERVER, RabbitMQ


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL (with credentials, no database in its path) of a MongoDB replica set of one node."""
    with Mongod(tmp_path_factory.mktemp("mongod"), free_port(), cache_gb=0.5) as server:
        yield server.url


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A RabbitMQ node: `.amqp` and `.management` are its URLs, `.stop()`, `.kill()`, `.start()` act on it."""
    if not SERVER.exists():
        sentence = "RabbitMQ is not installed: run make setup."
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    ports: list[int] = []
    for _ in range(4):
        ports.append(free_port(ports))
    with RabbitMQ(
        tmp_path_factory.mktemp("rabbitmq"),
        port=ports[0],
        management_port=ports[1],
        distribution_port=ports[2],
        mapper_port=ports[3],
    ) as server:
        yield server
