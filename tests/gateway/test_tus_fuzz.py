"""Whatever the headers of a tus request are, its answer is no 5xx, and says what is wrong and what to do."""

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.blobs.memory import MemoryBlobs
from shared.store.memory import MemoryStore
from tests.gateway.conftest import serve, slide
from tests.gateway.tus import ADDRESS, ask, begin, metadata

SESSION = "{session}"
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)
NUMBERS = st.sampled_from(["0", "1", "100", "-1", "1e3", "9" * 18, "9" * 19, " 7 ", "0x10", "\xd9\xa3"])
BASE64 = st.sampled_from(["", "YQ==", "!!!", "A" * 27 + "=", "/w==", "AA=="])
VALUES = {
    "Tus-Resumable": st.sampled_from(["1.0.0", "1.0.0", "1.0.0", "0.2.2", ""]) | TEXT,
    "Upload-Length": NUMBERS | TEXT,
    "Upload-Offset": NUMBERS | TEXT,
    "Upload-Defer-Length": st.sampled_from(["1", "0", ""]) | TEXT,
    "Upload-Metadata": st.just(SESSION) | st.lists(st.builds("{} {}".format, TEXT, BASE64)).map(",".join) | TEXT,
    "Upload-Checksum": st.builds("{} {}".format, st.sampled_from(["md5", "sha1", "SHA256", "crc32"]), BASE64) | TEXT,
    "Upload-Concat": st.sampled_from(["partial", "final;", f"final;{ADDRESS}{'0' * 32}", "final;http://["]) | TEXT,
    "Idempotency-Key": TEXT,
    "X-HTTP-Method-Override": st.sampled_from(["PATCH", "HEAD", "DELETE", "OPTIONS", "POST", "patch"]) | TEXT,
    "Content-Type": st.just("application/offset+octet-stream") | TEXT,
}
HEADERS = st.fixed_dictionaries({}, optional=VALUES)
METHODS = st.sampled_from(["POST", "PATCH", "HEAD", "DELETE", "OPTIONS"])


@settings(max_examples=10)
@given(st.lists(st.tuples(METHODS, st.booleans(), HEADERS, st.sampled_from([0, 1, 600])), min_size=40, max_size=40))
def test_no_header_breaks_the_gateway(requests: list[tuple[str, bool, dict[str, str], int]]) -> None:
    async def send() -> None:
        with tempfile.TemporaryDirectory() as folder:
            serving = asynccontextmanager(serve)(MemoryStore(), MemoryBlobs(Path(folder)), Path(folder))
            async with serving as gateway:
                session = await gateway.session()
                place = await begin(gateway, session, 1000)
                known = metadata(filename="a.svs", session=session)
                for method, single, headers, length in requests:
                    said = {name: value.replace(SESSION, known) for name, value in headers.items()}
                    answer = await ask(
                        gateway, method, place if single else ADDRESS, headers=said, data=slide(length) or None
                    )
                    assert answer.status < 500, (method, said, answer.text)
                    if answer.status >= 400 and answer.json is not None:
                        assert answer.json["detail"]
                        assert answer.json["remedy"]

    asyncio.run(send())
