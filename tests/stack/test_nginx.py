"""The one address: what goes to the viewer, what to the gateway, and that nothing is buffered on the way."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from deploy.local.children import Child
from deploy.local.nginx import Nginx
from deploy.local.ports import free_port

pytestmark = pytest.mark.broker


class Upstream:
    """A server behind nginx that tells what reached it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.first_bytes = asyncio.Event()
        self.go_on = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Echo the request; `/slow-body` tells when its first bytes are there, `/events` streams two events."""
        if request.path == "/slow-body":
            length = len(await request.content.readany())
            self.first_bytes.set()
            length += len(await request.content.read())
            return web.Response(text=str(length))
        if request.path == "/events":
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"data: first\n\n")
            await self.go_on.wait()
            await response.write(b"data: second\n\n")
            return response
        headers = {name: request.headers.get(name) for name in ("Range", "Upload-Offset", "Host", "X-Forwarded-Proto")}
        told = {"by": self.name, "method": request.method, "path": request.raw_path, **headers}
        return web.json_response(told, headers={"Method": request.method})


@pytest.fixture
async def upstreams() -> AsyncIterator[dict[str, Upstream]]:
    """A gateway and a viewer."""
    runners = []
    made = {name: Upstream(name) for name in ("gateway", "viewer")}
    for upstream in made.values():
        app = web.Application(client_max_size=2**40)
        app.router.add_route("*", "/{path:.*}", upstream.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        upstream.port = runner.addresses[0][1]
        runners.append(runner)
    yield made
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def address(tmp_path: Path, upstreams: dict[str, Upstream]) -> AsyncIterator[str]:
    """nginx in front of the two."""
    nginx = Nginx(tmp_path, free_port(), gateways=[upstreams["gateway"].port], viewers=[upstreams["viewer"].port])
    child = Child(nginx.program, tmp_path / "nginx.log")
    child.start()
    async with asyncio.timeout(20):
        while not nginx.ready():
            await asyncio.sleep(0.02)
    yield nginx.url
    await asyncio.to_thread(child.stop)


@pytest.mark.parametrize(
    ("path", "by"),
    [
        ("/api/v1/images/0af1/image.dzi", "viewer"),
        ("/api/v1/images/0af1/image_files/14/3_7.jpeg", "viewer"),
        ("/api/v1/images/0af1/thumbnail?width=200", "viewer"),
        ("/api/v1/images/0af1/associated/label", "viewer"),
        ("/api/v1/images/0af1/file", "viewer"),
        ("/iiif/3/0af1/info.json", "viewer"),
        ("/api/v1/images/0af1", "gateway"),
        ("/api/v1/sessions/0af1/files/5?name=a%20%C3%A4.svs", "gateway"),
        ("/api/v1/tus/", "gateway"),
        ("/", "gateway"),
    ],
)
async def test_paths_go_to_the_service_that_answers_them(address: str, path: str, by: str) -> None:
    """The routes of the interface, unchanged on the way."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(URL(f"{address}{path}", encoded=True)) as answer,
    ):
        told = await answer.json()

    assert (told["by"], told["path"]) == (by, path)


@pytest.mark.parametrize("method", ["PATCH", "HEAD", "OPTIONS", "DELETE"])
async def test_methods_ranges_and_host_pass(address: str, method: str) -> None:
    """tus and partial reads need their method and headers to arrive as sent."""
    headers = {"Range": "bytes=5-9", "Upload-Offset": "5"}
    data = b"x" if method == "PATCH" else None
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{address}/api/v1/tus/1", data=data, headers=headers) as answer,
    ):
        told = {"method": answer.headers["Method"]} if method == "HEAD" else await answer.json()

    assert told["method"] == method
    if method != "HEAD":
        assert (told["Range"], told["Upload-Offset"]) == ("bytes=5-9", "5")
        assert (told["Host"], told["X-Forwarded-Proto"]) == (address.removeprefix("http://"), "http")


async def test_a_body_reaches_the_gateway_while_it_is_still_being_sent(
    address: str, upstreams: dict[str, Upstream]
) -> None:
    """No buffering of requests, and no limit that a slide could pass."""
    chunk = bytes(2**20)

    async def body() -> AsyncIterator[bytes]:
        yield chunk
        await asyncio.wait_for(upstreams["gateway"].first_bytes.wait(), 20)
        for _ in range(31):
            yield chunk

    async with aiohttp.ClientSession() as http, http.post(f"{address}/slow-body", data=body()) as answer:
        assert (answer.status, await answer.text()) == (200, str(32 * len(chunk)))


async def test_events_arrive_one_by_one(address: str, upstreams: dict[str, Upstream]) -> None:
    """No buffering of answers: the first event is there before the second is made."""
    async with aiohttp.ClientSession() as http, http.get(f"{address}/events") as answer:
        first = await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 20)
        upstreams["gateway"].go_on.set()
        second = await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 20)

    assert (first, second) == (b"data: first\n\n", b"data: second\n\n")


@pytest.fixture
async def nobody(tmp_path: Path) -> AsyncIterator[str]:
    """nginx in front of services that are not there."""
    nginx = Nginx(tmp_path, free_port(), gateways=[free_port()], viewers=[free_port()])
    child = Child(nginx.program, tmp_path / "nginx.log")
    child.start()
    async with asyncio.timeout(20):
        while not nginx.ready():
            await asyncio.sleep(0.02)
    yield nginx.url
    await asyncio.to_thread(child.stop)


async def test_a_dead_service_is_told_in_problem_details(nobody: str) -> None:
    """While a service restarts the answer says so in the form that every other error has."""
    async with aiohttp.ClientSession() as http, http.get(f"{nobody}/api/v1/sessions") as answer:
        told = await answer.json(content_type="application/problem+json")

    assert (answer.status, told["status"], answer.headers["Retry-After"]) == (503, 503, "1")
    assert told["remedy"] == "Try again in a few seconds."


async def test_whoever_asks_a_dead_gateway_where_to_go_on_asks_again(nobody: str) -> None:
    """An error answer would make tus clients send the file from its beginning; without any they try again."""
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await http.head(f"{nobody}/api/v1/tus/0af1")
        async with http.patch(f"{nobody}/api/v1/tus/0af1", data=b"x") as answer:
            assert answer.status == 503
