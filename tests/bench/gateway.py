"""`make bench-gateway`: uploads through the gateway, beside a plain GridFS driver and a tus server, on loopback.

All in one run, alternating, onto the same disk: `pymongo`'s GridFSBucket writing the same bytes in chunks of the same
size, acknowledged by majority and journal as the gateway's are; and `@tus/server` with `@tus/file-store`, which writes
a plain file and waits for no disk. Then sixteen clients at once, and what memory the gateway takes meanwhile. No
broker runs, so what is measured ends with the answer to the last range: every byte stored, digests proven.
"""

import argparse
import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gridfs
import pymongo

from deploy.local.mongod import Mongod
from deploy.local.ports import free_port
from tests.bench.watch import Watch
from tests.gateway.tus import ADDRESS, metadata
from tests.serving import TOKEN, Client, GatewayProcess, prepare

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
CHUNK = 4 * MIB
DATABASE = "bench"
RANDOM = os.urandom(CHUNK)


class File:
    """A file made on the fly: random bytes behind a TIFF's signature, no block like another."""

    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.size = size

    def read(self, start: int, stop: int) -> bytearray:
        """Bytes of whole MiB."""
        data = bytearray((RANDOM * (-(-(stop - start) // CHUNK)))[: stop - start])
        for at in range(start, stop, MIB):
            label = b"%d %d " % (self.seed, at)
            data[at - start : at - start + len(label)] = label
        if start == 0:
            data[:4] = b"II*\0"
        return data

    def pieces(self, size: int) -> Iterator[tuple[int, bytearray]]:
        """Offset and bytes of each piece."""
        for at in range(0, self.size, size):
            yield at, self.read(at, min(at + size, self.size))


class Reader:
    """A file as `upload_from_stream` wants it."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        stop = min(self._at + size, self._file.size) if size >= 0 else self._file.size
        data = self._file.read(self._at, stop)
        self._at = stop
        return bytes(data)


def by_driver(mongodb: str, file: File) -> float:
    """Seconds that the plain driver takes."""
    concern = pymongo.WriteConcern(w="majority", j=True)
    with pymongo.MongoClient[dict[str, Any]](mongodb) as client:
        database = client.get_database("driver", write_concern=concern)
        bucket = gridfs.GridFSBucket(database, chunk_size_bytes=CHUNK)
        start = time.perf_counter()
        bucket.upload_from_stream("a.svs", Reader(file))
        return time.perf_counter() - start


def by_ranges(url: str, session: str, file: File, step: int) -> float:
    """Seconds that one client of the gateway takes, which sends range after range."""
    with Client(url) as client:
        start = time.perf_counter()
        id: str | None = None
        told: Any = None
        for at, data in file.pieces(step):
            status, told = client.send(session, data, at, file.size, id)
            assert status in (200, 201), told
            id = told["_id"]
        seconds = time.perf_counter() - start
    assert told["state"] == "complete", told
    return seconds


def by_whole_body(url: str, session: str, file: File) -> float:
    """Seconds that one client of the gateway takes, which sends the file as curl -T does."""
    with Client(url) as client:
        start = time.perf_counter()
        status, told = client.ask(
            "PUT",
            f"/api/v1/sessions/{session}/files/a.svs",
            (data for _, data in file.pieces(CHUNK)),
            {"Content-Length": str(file.size)},
        )
        assert (status, told["state"]) == (201, "complete"), told
        return time.perf_counter() - start


def by_tus(url: str, file: File, step: int, headers: dict[str, str] | None = None) -> float:
    """Seconds that one client of a tus server takes, which sends PATCH after PATCH; `headers` go with each request."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=600)
    said = {"Tus-Resumable": "1.0.0", **(headers or {})}
    start = time.perf_counter()
    connection.request("POST", f"/{path}", headers={**said, "Upload-Length": str(file.size), "Content-Length": "0"})
    made = connection.getresponse()
    made.read()
    where = made.headers["Location"].removeprefix(f"http://{host}")
    for at, data in file.pieces(step):
        headers = {**said, "Upload-Offset": str(at), "Content-Type": "application/offset+octet-stream"}
        connection.request("PATCH", where, data, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 204, answer.status
    seconds = time.perf_counter() - start
    connection.close()
    return seconds


def many(work: Callable[[int], float], clients: int) -> float:
    """Seconds until all clients are done."""
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(work, range(clients)))
    return time.perf_counter() - start


def empty(mongodb: str) -> None:
    """Removes what a round has written, so that each begins with the same database."""
    with pymongo.MongoClient[dict[str, Any]](mongodb) as client:
        for database in ("driver", DATABASE):
            client[database]["fs.chunks"].delete_many({})
            client[database]["fs.files"].delete_many({})


def make_driver_collection(mongodb: str) -> None:
    """Without compression, as the gateway's: the peer must not pay for trying to compress random bytes."""
    with pymongo.MongoClient[dict[str, Any]](mongodb) as client:
        client["driver"].create_collection(
            "fs.chunks", storageEngine={"wiredTiger": {"configString": "block_compressor=none"}}
        )


def main() -> None:
    """Prints rates, ratios and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="MiB that one client sends")
    parser.add_argument("--step", type=int, default=16, help="MiB of one range")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--each", type=int, default=256, help="MiB that each of many clients sends")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = 3 * MIB * max(options.clients * options.each, 4 * options.size)
    if shutil.disk_usage(options.folder).free < wanted:
        sys.exit(f"{options.folder} has too little free disk: it takes {wanted / 1e9:.0f} GB.")
    folder = Path(tempfile.mkdtemp(prefix="gateway-", dir=options.folder))
    try:
        with Mongod(folder / "mongod", free_port(), cache_gb=1) as mongod:
            prepare(mongod.url, DATABASE)
            make_driver_collection(mongod.url)
            with GatewayProcess(mongod.url, DATABASE, folder) as gateway:
                compare(mongod.url, gateway, folder, options)
    finally:
        shutil.rmtree(folder)


def compare(mongodb: str, gateway: GatewayProcess, folder: Path, options: argparse.Namespace) -> None:
    """Alternates all of them, then lets many clients at the gateway."""
    size, step = options.size * MIB, options.step * MIB
    with Client(gateway.url) as client:
        session = client.session()
    (folder / "tus").mkdir()
    peer = subprocess.Popen(
        ["node", "tus-server.mjs", folder / "tus"], cwd=ROOT / "tests" / "clients", stdout=subprocess.PIPE, text=True
    )
    try:
        assert peer.stdout is not None
        tus = f"http://127.0.0.1:{peer.stdout.readline().strip()}/files"
        by_us = {
            "Authorization": f"Bearer {TOKEN}",
            "Upload-Metadata": metadata(filename="a.svs", session=session),
        }
        ways: dict[str, Callable[[File], float]] = {
            "driver": lambda file: by_driver(mongodb, file),
            "gateway": lambda file: by_ranges(gateway.url, session, file, step),
            "whole body": lambda file: by_whole_body(gateway.url, session, file),
            "tus": lambda file: by_tus(f"{gateway.url}{ADDRESS}", file, step, by_us),
            "tus peer": lambda file: by_tus(tus, file, step),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for round in range(options.rounds):
            for way, send in ways.items():
                rates[way].append(options.size / send(File(round, size)))
                empty(mongodb)
                shutil.rmtree(folder / "tus")
                (folder / "tus").mkdir()
            print(f"round {round + 1}: " + ", ".join(f"{way} {rate[-1]:.0f} MiB/s" for way, rate in rates.items()))
    finally:
        peer.terminate()
        peer.wait()
    with Watch({"gateway": gateway.pid}) as memory:
        seconds = many(
            lambda n: by_ranges(gateway.url, session, File(1000 + n, options.each * MIB), step), options.clients
        )
    together = options.clients * options.each / seconds
    empty(mongodb)
    median = {way: statistics.median(rate) for way, rate in rates.items()}
    for way, rate in median.items():
        # Round by round: the disk's own pace changes more than any of them.
        share = statistics.median(own / plain for own, plain in zip(rates[way], rates["driver"], strict=True))
        print(f"{way + ':':12}{rate:5.0f} MiB/s, {share:.2f} of the driver")
    print(f"{options.clients} clients: {together:5.0f} MiB/s together, {together / median['gateway']:.2f} of one")
    print(f"memory:     gateway at most {memory.peaks['gateway'] / 1e6:.0f} MB resident")


if __name__ == "__main__":
    main()
