"""jQuery File Upload as its authors made it, in Chromium, over a line that breaks once."""

import asyncio
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import async_playwright

from shared.blobs.memory import MemoryBlobs
from shared.store.memory import MemoryStore
from tests.browser.conftest import CHROMIUM, OPTIONS
from tests.clients.line import bad_line
from tests.gateway.conftest import ADMIN, MIB, md5, serve, slide

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HERE = Path(__file__).parent
CHUNK = MIB
# Boundaries, fields and headers of one form.
AROUND = 1024


@pytest.fixture
async def blueimp(tmp_path: Path) -> Path:
    """A folder with a page that holds a file field and the bundled uploader, for the gateway to serve."""
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "favicon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "index.html").write_text(
        '<!doctype html><input type="file" id="file"><output id="said"></output>'
        '<script src="/assets/blueimp.js"></script>'
    )
    bundling = await asyncio.create_subprocess_exec(
        HERE / "node_modules" / ".bin" / "esbuild",
        HERE / "blueimp.mjs",
        "--bundle",
        "--log-level=warning",
        f"--outfile={folder / 'assets' / 'blueimp.js'}",
    )
    assert await asyncio.wait_for(bundling.wait(), 60) == 0
    return folder


async def test_jquery_file_upload_goes_on_after_a_break_and_sends_no_more_than_a_chunk_again(
    blueimp: Path, tmp_path: Path
) -> None:
    file = tmp_path / "Präparat 7.svs"
    data = slide(5 * CHUNK + 12_345)
    file.write_bytes(data)
    async for gateway in serve(MemoryStore(), MemoryBlobs(tmp_path), blueimp):
        session = await gateway.session()
        async with bad_line(gateway.url, every=4) as line, async_playwright() as playwright:
            said = {
                "url": f"{line.url}/api/v1/sessions/{session}/files",
                "headers": {"Authorization": f"Bearer {ADMIN}"},
                "maxChunkSize": CHUNK,
            }
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
            page = await browser.new_page()
            await page.goto(f"{line.url}/#{quote(json.dumps(said))}")
            await page.set_input_files("#file", file)
            await page.wait_for_function("() => document.getElementById('said').value !== ''", timeout=60_000)
            answer = json.loads(await page.inner_text("#said"))
            await browser.close()

        assert line.faults == 1
        assert line.received <= len(data) + CHUNK + AROUND * line.requests
        assert (answer["done"], answer["md5"]) == (True, md5(data))
        (image,) = await gateway.images(session)
        assert (image["name"], image["length"]) == (file.name, len(data))
