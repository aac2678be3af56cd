"""Two gateways as processes on one MongoDB, of which one is killed again and again in the middle of a PATCH."""

import http.client
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pymongo
import pytest

from tests.gateway.conftest import MIB, sha256, slide
from tests.gateway.tus import ADDRESS, MEDIA, SPOKEN, id_of, metadata
from tests.running import eventually
from tests.serving import TOKEN, Client, GatewayProcess, prepare

pytestmark = pytest.mark.broker
STEP = 1_000_003
SIGNED = {"Authorization": f"Bearer {TOKEN}", **SPOKEN}


@pytest.fixture
def gateways(mongod: str, tmp_path: Path) -> Iterator[list[GatewayProcess]]:
    database = f"tus_{uuid.uuid4().hex[:12]}"
    prepare(mongod, database)
    try:
        with GatewayProcess(mongod, database, tmp_path) as one, GatewayProcess(mongod, database, tmp_path) as other:
            yield [one, other]
    finally:
        with pymongo.MongoClient[dict[str, object]](mongod) as client:
            client.drop_database(database)


def tell(gateway: GatewayProcess, method: str, path: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
    """The headers of an answer that is no error."""
    connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=60)
    try:
        connection.request(method, path, body, {**SIGNED, **headers})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return dict(answer.headers)
    finally:
        connection.close()


def hanging(gateway: GatewayProcess, place: str, offset: int, data: bytes, length: int) -> socket.socket:
    """A PATCH that sends only the beginning of what it announces."""
    address = urlsplit(gateway.url)
    line = socket.create_connection((address.hostname, address.port or 80), timeout=60)
    said = {**SIGNED, "Host": address.netloc, "Content-Type": MEDIA, "Upload-Offset": str(offset)}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**said, "Content-Length": str(length)}.items())
    line.sendall(f"PATCH {place} HTTP/1.1\r\n{head}\r\n".encode() + data)
    return line


def test_no_acknowledged_byte_is_lost_and_the_file_arrives_once(gateways: list[GatewayProcess]) -> None:
    data = slide(8 * MIB)
    with Client(gateways[0].url) as client:
        session = client.session()
    said = {"Upload-Length": str(len(data)), "Upload-Metadata": metadata(filename="a.svs", session=session)}
    place = tell(gateways[0], "POST", ADDRESS, b"", said)["Location"]

    def patch(gateway: GatewayProcess, offset: int, step: int) -> int:
        headers = {"Content-Type": MEDIA, "Upload-Offset": str(offset)}
        return int(tell(gateway, "PATCH", place, data[offset : offset + step], headers)["Upload-Offset"])

    def break_off(killed: GatewayProcess, living: GatewayProcess, offset: int) -> int:
        """Kills a gateway that has stored some bytes after the acknowledged ones; where the other one goes on."""
        with Client(living.url) as client:

            def stored() -> int:
                return int(client.ask("GET", f"/api/v1/sessions/{session}/files/{id_of(place)}")[1]["stored"])

            with hanging(killed, place, offset, data[offset : offset + 2 * STEP], len(data) - offset):
                eventually(lambda: stored() > offset, 60, "no byte of the hanging request was stored")
                killed.kill()
            reached = stored()
        resumed = int(tell(living, "HEAD", place, b"", {})["Upload-Offset"])
        assert offset < reached <= resumed <= offset + 2 * STEP
        return resumed

    offset = 0
    for killed, living in (gateways, gateways[::-1]):
        offset = break_off(killed, living, patch(killed, offset, STEP))
        killed.start()
    assert patch(gateways[0], offset, len(data)) == len(data)

    with Client(gateways[1].url) as client:
        (image,) = client.ask("GET", f"/api/v1/sessions/{session}/images")[1]["items"]
    assert (image["state"], image["length"], image["sha256"]) == ("dicing", len(data), sha256(data))
