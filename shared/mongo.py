"""How slidemill talks to MongoDB: concerns that hold for everything, and errors in slidemill's own words."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import CollectionInvalid, ConnectionFailure, OperationFailure, PyMongoError, WriteConcernError
from pymongo.write_concern import WriteConcern

from shared.errors import Unavailable

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Client = AsyncIOMotorClient[dict[str, Any]]
    Database = AsyncIOMotorDatabase[dict[str, Any]]

DUPLICATE_KEY = 11000
_NAMESPACE_EXISTS = 48
MAJORITY = WriteConcern(w="majority", j=True, wtimeout=30_000)
# Longer than any command of ours takes; a server that stands still must not hold a worker for ever.
SOCKET_SECONDS = 90

# Codes of the server's error table that say that it, or its replica set, can't do this now.
_PASSING = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        43,  # CursorNotFound: the server restarted between two batches
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        175,  # QueryPlanKilled
        189,  # PrimarySteppedDown
        211,  # KeyNotFound: a server that has just started has not read the keys of its cluster time yet
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)


def connect(url: str) -> "Client":
    """A client whose writes are acknowledged by majority and journal and whose reads go to the primary.

    Connects when first used. Times come back as UTC with their zone.
    """
    return AsyncIOMotorClient(
        url,
        w="majority",
        journal=True,
        wTimeoutMS=MAJORITY.document["wtimeout"],
        readPreference="primary",
        readConcernLevel="majority",
        retryWrites=True,
        retryReads=True,
        serverSelectionTimeoutMS=5000,
        connectTimeoutMS=5000,
        socketTimeoutMS=SOCKET_SECONDS * 1000,
        tz_aware=True,
        tzinfo=UTC,
    )


def _passes(error: PyMongoError) -> bool:
    """Whether the error says nothing about what was asked, only that it can't be had now."""
    if isinstance(error, ConnectionFailure | WriteConcernError) or error.timeout:
        return True
    if error.has_error_label("RetryableWriteError") or error.has_error_label("TransientTransactionError"):
        return True
    return isinstance(error, OperationFailure) and error.code in _PASSING


@contextmanager
def translated() -> Iterator[None]:
    """Turns what a lost, stopping or overloaded MongoDB raises into `Unavailable`; lets other errors through."""
    try:
        yield
    except PyMongoError as error:
        if not _passes(error):
            raise
        raise Unavailable(f"MongoDB can't be reached ({str(error)[:300]}).") from error


def only_duplicates(write_errors: Iterable[Mapping[str, Any]], concern_errors: Iterable[Mapping[str, Any]]) -> None:
    """Judges an unordered insert: keys that were taken already are no error.

    Raises `Unavailable` or, for what can't be written at all, `OperationFailure`.
    """
    for failed in concern_errors:
        raise Unavailable(f"MongoDB could not secure what was written ({failed['errmsg']}).")
    with translated():
        for failed in write_errors:
            if failed["code"] != DUPLICATE_KEY:
                raise OperationFailure(failed["errmsg"], failed["code"])


async def create_uncompressed(database: "Database", name: str) -> None:
    """Makes a collection for data that is compressed already. Harmless when it exists."""
    with translated():
        try:
            await database.create_collection(
                name, check_exists=False, storageEngine={"wiredTiger": {"configString": "block_compressor=none"}}
            )
        except CollectionInvalid:
            return
        except OperationFailure as error:
            if error.code != _NAMESPACE_EXISTS:
                raise
