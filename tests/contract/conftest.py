"""Each contract suite runs twice: on memory and on a real MongoDB."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest
from pymongo import MongoClient

from shared.mongo import connect

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
