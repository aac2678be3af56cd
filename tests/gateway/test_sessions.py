"""Sessions, lists, single images, and errors of every kind."""

import pytest

from services.upload.models import ImageObject, ImagePage, ProblemObject, SessionObject
from shared.store.documents.images import Image, Session
from shared.store.documents.versions import Version, VersionId
from tests.gateway.conftest import ADMIN, ANNA, MIB, Served, slide


async def test_a_session_is_made_and_found_again(gateway: Served) -> None:
    made = await gateway.ask("POST", "/api/v1/sessions", ANNA, json={"title": "  Präparate\u202e 2026/17\n "})
    found = await gateway.ask("GET", f"/api/v1/sessions/{made.json['id']}", ANNA)
    listed = await gateway.ask("GET", "/api/v1/sessions", ANNA)

    assert made.status == 201
    assert (made.json["title"], made.json["owner"], made.json["images"]) == ("Präparate 2026/17", "a" * 32, {})
    assert made.json["created"].endswith("Z")
    assert len(made.json["created"]) == len("2026-01-02T03:04:05.678Z")
    assert found.json == made.json
    assert listed.json == {"items": [made.json], "next": None}
    SessionObject.model_validate(made.json)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"title": ""}', b'{"title": " "}', b'{"name": "x"}', b'{"title": 7}'])
async def test_a_session_without_a_title_is_refused(gateway: Served, body: bytes) -> None:
    answer = await gateway.ask("POST", "/api/v1/sessions", data=body)

    assert answer.status == 400
    ProblemObject.model_validate(answer.json)


async def test_a_list_is_read_page_by_page_in_order_of_creation(gateway: Served) -> None:
    made = {await gateway.session(ANNA, f"Case {number}") for number in range(5)}

    found: list[dict[str, str]] = []
    cursor = ""
    for _ in range(3):
        page = await gateway.ask("GET", f"/api/v1/sessions?limit=2{cursor}", ANNA)
        found += page.json["items"]
        cursor = f"&cursor={page.json['next']}"

    assert {item["id"] for item in found} == made
    assert len(found) == len(made)
    assert found == sorted(found, key=lambda item: (item["created"], item["id"]))
    assert page.json["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=" + "9" * 5000, "cursor=x"])
async def test_a_wrong_page_is_refused(gateway: Served, query: str) -> None:
    answer = await gateway.ask("GET", f"/api/v1/sessions?{query}")

    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json; charset=utf-8")


async def test_what_belongs_to_others_does_not_exist(gateway: Served) -> None:
    session = await gateway.session(ADMIN)
    image = (await gateway.send(session, slide(1000), params={"name": "a.svs"})).json["image"]

    for path in (f"sessions/{session}", f"sessions/{session}/images", f"sessions/{session}/events", f"images/{image}"):
        foreign = await gateway.ask("GET", f"/api/v1/{path}", ANNA)
        missing = await gateway.ask("GET", f"/api/v1/{path.replace(session, '0' * 32).replace(image, '0' * 32)}", ANNA)
        assert (foreign.status, foreign.json) == (404, missing.json)
    assert (await gateway.ask("GET", "/api/v1/sessions", ANNA)).json["items"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/me"),
        ("DELETE", "/me/session"),
        ("POST", "/signin-links"),
        ("GET", "/sessions"),
        ("POST", "/sessions"),
        ("GET", "/sessions/x"),
        ("GET", "/sessions/x/images"),
        ("GET", "/sessions/x/events"),
        ("GET", "/images/x"),
        ("POST", "/sessions/x/files"),
        ("PUT", "/sessions/x/files"),
        ("GET", "/sessions/x/files/y"),
        ("DELETE", "/sessions/x/files/y"),
    ],
)
@pytest.mark.parametrize("token", [None, "made-up"])
async def test_nothing_is_open(gateway: Served, method: str, path: str, token: str | None) -> None:
    answer = await gateway.ask(method, f"/api/v1{path}", token)

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert ProblemObject.model_validate(answer.json).remedy


async def test_images_are_listed_page_by_page_as_full_objects(gateway: Served) -> None:
    session = await gateway.session()
    ids = [
        (await gateway.send(session, slide(1000, seed), params={"name": f"{seed}.svs"})).json["image"]
        for seed in range(3)
    ]

    first = await gateway.ask("GET", f"/api/v1/sessions/{session}/images?limit=2")
    second = await gateway.ask("GET", f"/api/v1/sessions/{session}/images?limit=2&cursor={first.json['next']}")

    assert [image["id"] for image in first.json["items"] + second.json["items"]] == ids
    assert second.json["next"] is None
    ImagePage.model_validate(first.json)


async def test_an_image_says_what_is_known_and_null_for_the_rest(gateway: Served) -> None:
    session = await gateway.session()
    sent = await gateway.send(session, slide(MIB), (0, MIB, 2 * MIB), params={"name": "a.svs"})

    answer = await gateway.ask("GET", f"/api/v1/images/{sent.json['image']}")

    image = answer.json
    ImageObject.model_validate(image)
    assert (image["state"], image["viewable"], image["failure"], image["version"]) == ("uploading", False, None, 1)
    assert image["stages"]["upload"] == {**image["stages"]["upload"], "ended": None, "done": MIB, "total": 2 * MIB}
    assert image["stages"]["dice"] == {"started": None, "ended": None, "done": 0, "total": None}
    assert image["tiles"] == {"stored": None, "sparse": None}
    assert {image[name] for name in ("width", "height", "levels", "mpp", "md5", "base", "length")} == {None}


async def test_a_session_counts_its_images_by_their_latest_state(gateway: Served) -> None:
    session = await gateway.session()
    sent = await gateway.send(session, slide(1000), params={"name": "a.svs"})
    await gateway.send(session, b"", params={"name": "b.svs"})
    image = await gateway.store.images.get(sent.json["image"])
    version = await gateway.store.versions.get(VersionId(image=sent.json["image"], n=1))
    assert isinstance(image, Image)
    assert isinstance(version, Version)
    renewed = version.model_copy(update={"id": VersionId(image=image.id, n=2), "state": "ready"})
    await gateway.store.versions.insert(renewed)
    await gateway.store.images.update(image.id, set={"latest": 2})

    answer = await gateway.ask("GET", f"/api/v1/sessions/{session}")

    assert answer.json["images"] == {"ready": 1, "failed": 1}


async def test_every_error_is_problem_details(gateway: Served) -> None:
    unknown = await gateway.ask("GET", "/api/v1/nothing/here")
    method = await gateway.ask("DELETE", "/api/v1/sessions")
    large = await gateway.ask("POST", "/api/v1/sessions", data=b"x" * (2 * MIB))

    assert [answer.status for answer in (unknown, method, large)] == [404, 405, 413]
    assert "GET" in method.headers["Allow"]
    for answer in (unknown, method, large):
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        problem = ProblemObject.model_validate(answer.json)
        assert problem.status == answer.status
        assert problem.detail
        assert problem.remedy


async def test_answers_carry_headers_that_keep_browsers_careful(gateway: Served) -> None:
    for path in ("/", "/api/v1/sessions", "/nothing"):
        headers = (await gateway.ask("GET", path)).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


async def test_the_page_is_served_at_each_of_its_addresses(gateway: Served) -> None:
    for path in ("/", "/sessions/abc", "/images/abc"):
        answer = await gateway.ask("GET", path, None)
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
        assert "slidemill" in answer.text
    script = await gateway.ask("GET", "/assets/index-abc.js", None)
    assert (script.status, "immutable" in script.headers["Cache-Control"]) == (200, True)
    for path in ("/assets/missing.js", "/assets/..%2findex.html"):
        assert (await gateway.ask("GET", path, None)).status == 404


async def test_sessions_of_the_same_moment_are_all_listed(gateway: Served) -> None:
    moment = gateway.gateway.clock.now()
    ids = [f"{number:032x}" for number in range(5)]
    await gateway.store.sessions.insert(*(Session(id=id, title="t", owner="a" * 32, created=moment) for id in ids))

    first = await gateway.ask("GET", "/api/v1/sessions?limit=3", ANNA)
    second = await gateway.ask("GET", f"/api/v1/sessions?limit=3&cursor={first.json['next']}", ANNA)

    assert [item["id"] for item in first.json["items"] + second.json["items"]] == ids
