"""Whatever a client sends, the answer is no 5xx: made-up headers, forms and bodies, and all of docs/openapi.yaml."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from services.upload.openapi import document
from shared.blobs.memory import MemoryBlobs
from shared.store.memory import MemoryStore
from tests.gateway.conftest import ADMIN, serve, slide

BOUNDED = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """A gateway in a thread of its own: its URL, a session in it, and an upload in that with 256 KiB of a MiB."""
    folder = tmp_path_factory.mktemp("fuzzed")
    told: dict[str, Any] = {}
    ready = threading.Event()

    async def run() -> None:
        async with asynccontextmanager(serve)(MemoryStore(), MemoryBlobs(folder), Path(folder)) as gateway:
            session = await gateway.session()
            part = (0, 2**18, 2**20)
            first = await gateway.send(session, slide(2**18), part, params={"name": "a.svs"})
            stop = asyncio.Event()
            told.update(address=(gateway.url, session, first.json["_id"]), stop=stop, loop=asyncio.get_running_loop())
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(30)
    yield told["address"]
    told["loop"].call_soon_threadsafe(told["stop"].set)
    thread.join(30)


def answered(url: str, target: str, headers: Sequence[tuple[str, bytes]], body: bytes, method: str = "POST") -> bytes:
    """The answer's first line, to a request written byte by byte; empty if the connection was closed."""
    where = urlsplit(url)
    head = [f"{method} {target} HTTP/1.1", f"Host: {where.netloc}", f"Authorization: Bearer {ADMIN}"]
    if not any(name == "Transfer-Encoding" for name, _ in headers):
        head.append(f"Content-Length: {len(body)}")
    lines = [line.encode() for line in head] + [name.encode() + b": " + value for name, value in headers]
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        try:
            connection.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
        except OSError:
            # Refused before it was read to its end.
            pass
        answer = connection.makefile("rb")
        while (line := answer.readline()).startswith(b"HTTP/1.1 100") or line == b"\r\n":
            # Told to go on.
            pass
        return line


def is_no_server_error(line: bytes) -> bool:
    return line.startswith(b"HTTP/1.") and line[9:10] in (b"2", b"3", b"4")


SIGNED_IN = {"Authorization": f"Bearer {ADMIN}"}
# What stands in a header: anything but the ends of lines.
RAW = st.binary(max_size=40).map(lambda raw: raw.translate(None, b"\r\n\0"))
NUMBER = st.sampled_from(
    [b"0", b"1", b"999", b"1000", b"262143", b"262144", b"1048575", b"1048576", b"9" * 18, b"-1", b""]
)
RANGE = RAW | st.builds(
    lambda *parts: b"".join(parts),
    st.sampled_from([b"bytes ", b"bytes", b"Bytes  ", b"items ", b"bytes="]),
    NUMBER,
    st.sampled_from([b"-", b"", b"--"]),
    NUMBER,
    st.sampled_from([b"/", b""]),
    NUMBER | st.just(b"*"),
)
DIGEST = RAW | st.builds(
    lambda name, value: name + value,
    st.sampled_from([b"", b"sha-256=", b"md5=", b"sha-256=:", b"sha-512=:"]),
    st.sampled_from(
        [
            b"",
            b":",
            b"1B2M2Y8AsgTpgAmY7PhCfg==",
            b"1B2M2Y8AsgTpgAmY7PhCfg==:",
            b"d41d8cd98f00b204e9800998ecf8427e",
            b"=",
        ]
    ),
)
DISPOSITION = RAW | st.builds(
    lambda kind, name: kind + name,
    st.sampled_from(
        [b"attachment; filename=", b"attachment; filename*=", b'form-data; name="f"; filename=', b"filename="]
    ),
    RAW
    | st.sampled_from(
        [b'"a.svs"', b"UTF-8''%ff%fe", b"utf-16''%d8", b'"..\\..\\"', b'"%00"', b"x''y", b"", b'"\xff\xfe.svs"']
    ),
)
CONTENT_TYPE = RAW | st.sampled_from(
    [b"multipart/form-data", b"multipart/form-data; boundary=", b"multipart/x; boundary=B"]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Range": RANGE,
        "Content-MD5": DIGEST,
        "Content-Digest": DIGEST,
        "Repr-Digest": DIGEST,
        "Content-Disposition": DISPOSITION,
        "Idempotency-Key": RAW,
        "Content-Encoding": RAW | st.just(b"gzip"),
        "Content-Type": CONTENT_TYPE,
        "Expect": RAW | st.just(b"100-continue"),
    },
)
QUERY = st.sampled_from(
    ["", "?name=a.svs", "?name=%00%ff", "?_id=1", "?_id={id}", "?_id=%ed%a0%80", "?md5=x&name=a.svs"]
)
BODY = st.sampled_from([b"", b"II*\0", slide(1000), slide(2**18), b"plain text " * 100])
FORM = st.lists(
    st.sampled_from(
        [
            b"--B\r\n",
            b"--B--\r\n",
            b"\r\n",
            b"\r\n\r\n",
            b'Content-Disposition: form-data; name="_id"\r\n\r\n',
            b'Content-Disposition: form-data; name="f"; filename="a.svs"\r\n\r\n',
            b'Content-Disposition: form-data; name="md5"\r\n\r\nxyz\r\n',
            b"Content-Disposition: \xff\xfe; filename\r\n\r\n",
            b"Content-Type: multipart/mixed; boundary=C\r\n\r\n--C\r\n",
            b"Content-Transfer-Encoding: base64\r\n",
            b"Content-Encoding: gzip\r\n",
            b"Content-Length: -7\r\n",
            slide(1000),
            b"--",
        ]
    )
    | st.binary(max_size=20),
    max_size=12,
).map(b"".join)


@BOUNDED
@given(headers=HEADERS, query=QUERY, body=BODY, method=st.sampled_from(["POST", "PUT"]))
def test_headers_are_taken_or_refused(
    address: tuple[str, str, str], headers: dict[str, bytes], query: str, body: bytes, method: str
) -> None:
    url, session, id = address
    target = f"/api/v1/sessions/{session}/files{query.format(id=id)}"

    line = answered(url, target, list(headers.items()), body, method)

    assert is_no_server_error(line), line


@BOUNDED
@given(form=FORM, part=RANGE | st.none(), proper=st.booleans())
def test_forms_are_taken_or_refused(
    address: tuple[str, str, str], form: bytes, part: bytes | None, proper: bool
) -> None:
    url, session, _ = address
    headers = [("Content-Type", b"multipart/form-data; boundary=B")]
    headers += [("Content-Range", part)] if part is not None else []
    body = b"--B\r\n" + form + (b"\r\n--B--\r\n" if proper else b"")

    line = answered(url, f"/api/v1/sessions/{session}/files", headers, body)

    assert is_no_server_error(line), line


@settings(BOUNDED, max_examples=60)
@given(chunks=st.lists(st.binary(max_size=30), max_size=4), part=RANGE | st.none(), end=st.booleans())
def test_bodies_in_pieces_are_taken_or_refused(
    address: tuple[str, str, str], chunks: list[bytes], part: bytes | None, end: bool
) -> None:
    url, session, _ = address
    headers = [("Transfer-Encoding", b"chunked"), *([("Content-Range", part)] if part is not None else [])]
    body = b"".join(b"%x\r\n" % len(chunk) + chunk + b"\r\n" for chunk in chunks if chunk)

    line = answered(
        url, f"/api/v1/sessions/{session}/files?name=a", headers, body + (b"0\r\n\r\n" if end else b"zz\r\n")
    )

    assert is_no_server_error(line), line


@schemathesis.serializer("application/offset+octet-stream")
def as_bytes(_: Any, value: Any) -> bytes:
    """What a tus client sends."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def test_schemathesis_finds_no_server_error(address: tuple[str, str, str]) -> None:
    """Every operation of our own document, on things that exist and on things that do not."""
    url, session, id = address
    schema = schemathesis.openapi.from_dict(document())
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) == sum(len(methods) for methods in document()["paths"].values())

    for operation in operations:

        @settings(BOUNDED, max_examples=8)
        @given(case=operation.as_strategy(), real=st.booleans())
        def ask(case: Any, real: bool) -> None:
            # An event stream never ends; and the upload stays for the others.
            if real and not case.path.endswith("/events"):
                there = {"session": session, "upload": id if case.method == "GET" else "u"}
                case.path_parameters |= {name: there[name] for name in case.path_parameters if name in there}
            response = case.call(base_url=url, headers=SIGNED_IN, timeout=20, allow_redirects=False)
            assert response.status_code < 500, (case.method, response.request.url, response.text)
            if response.status_code >= 400 and case.method != "HEAD":
                assert response.json()["remedy"], response.request.url

        ask()
