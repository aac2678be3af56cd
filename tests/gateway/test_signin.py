"""Signing a browser in by a one-time link, its cookie, and requests that other sites forge."""

from http.cookies import SimpleCookie

import pytest

from tests.gateway.conftest import ANNA, Served

OURS = {"Sec-Fetch-Site": "same-origin"}


async def link(gateway: Served, token: str = ANNA) -> str:
    answer = await gateway.ask("POST", "/api/v1/signin-links", token)
    assert answer.status == 201
    assert answer.json["url"].startswith("http://slides.example/signin/")
    return str(answer.json["url"]).removeprefix("http://slides.example")


async def cookie(gateway: Served) -> dict[str, str]:
    answer = await gateway.ask("GET", await link(gateway), None)
    return {"Cookie": f"slidemill={SimpleCookie(answer.headers['Set-Cookie'])['slidemill'].value}"}


async def test_a_link_signs_a_browser_in_and_leads_to_the_page(gateway: Served) -> None:
    answer = await gateway.ask("GET", await link(gateway), None)

    assert (answer.status, answer.headers["Location"]) == (303, "/")
    set_cookie = answer.headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in set_cookie
    me = await gateway.ask("GET", "/api/v1/me", None, headers={"Cookie": set_cookie.split(";")[0]})
    assert me.json == {"id": "a" * 32, "name": "Anna", "admin": False}


async def test_a_link_works_once(gateway: Served) -> None:
    path = await link(gateway)
    await gateway.ask("GET", path, None)

    again = await gateway.ask("GET", path, None)
    in_browser = await gateway.ask("GET", path, None, headers={"Accept": "text/html,*/*"})

    assert (again.status, again.headers["Content-Type"]) == (410, "application/problem+json; charset=utf-8")
    assert "Set-Cookie" not in again.headers
    assert in_browser.status == 410
    assert "./slidemill signin" in in_browser.text
    assert in_browser.headers["Content-Type"].startswith("text/html")


async def test_a_link_that_is_opened_twice_by_the_same_browser_does_no_harm(gateway: Served) -> None:
    path = await link(gateway)
    first = await gateway.ask("GET", path, None)

    again = await gateway.ask("GET", path, None, headers={"Cookie": first.headers["Set-Cookie"].split(";")[0]})

    assert (again.status, again.headers["Location"]) == (303, "/")


async def test_looking_at_a_link_without_opening_it_does_not_use_it_up(gateway: Served) -> None:
    path = await link(gateway)

    assert (await gateway.ask("HEAD", path, None)).status == 405
    assert (await gateway.ask("GET", path, None)).status == 303


async def test_a_made_up_code_signs_nobody_in(gateway: Served) -> None:
    assert (await gateway.ask("GET", "/signin/made-up", None)).status == 410


async def test_signing_out_ends_the_cookie(gateway: Served) -> None:
    mine = await cookie(gateway)

    out = await gateway.ask("DELETE", "/api/v1/me/session", None, headers={**mine, **OURS})

    assert out.status == 204
    assert (await gateway.ask("GET", "/api/v1/me", None, headers=mine)).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OURS, 201),
        ({"Origin": "HOST"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "HOST"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
async def test_a_cookie_changes_things_only_from_our_own_page(
    gateway: Served, headers: dict[str, str], status: int
) -> None:
    sent = {name: gateway.url if value == "HOST" else value for name, value in headers.items()}

    answer = await gateway.ask(
        "POST", "/api/v1/sessions", None, json={"title": "x"}, headers={**await cookie(gateway), **sent}
    )

    assert answer.status == status


async def test_a_wrong_token_is_not_made_good_by_a_cookie(gateway: Served) -> None:
    assert (await gateway.ask("GET", "/api/v1/me", "made-up", headers=await cookie(gateway))).status == 401


async def test_a_cookie_is_no_bearer_token_and_a_token_no_cookie(gateway: Served) -> None:
    secret = (await cookie(gateway))["Cookie"].removeprefix("slidemill=")

    assert (await gateway.ask("GET", "/api/v1/me", secret)).status == 401
    assert (await gateway.ask("GET", "/api/v1/me", None, headers={"Cookie": f"slidemill={ANNA}"})).status == 401


async def test_a_browser_can_not_make_links_for_others(gateway: Served) -> None:
    answer = await gateway.ask("POST", "/api/v1/signin-links", None, headers={**await cookie(gateway), **OURS})

    assert answer.status == 403
