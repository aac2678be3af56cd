"""The written interface agrees with the running one."""

from pathlib import Path

import yaml

from services.upload.openapi import document
from services.upload.routes import ROUTES
from tests.gateway.conftest import Served

WRITTEN = Path(__file__).parents[2] / "docs" / "openapi.yaml"


def test_the_written_document_is_fresh() -> None:
    assert yaml.safe_load(WRITTEN.read_text("utf-8")) == document()


def test_every_reference_in_the_document_leads_somewhere() -> None:
    schemas = document()["components"]["schemas"]

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            found = [node["$ref"]] if "$ref" in node else []
            return found + [reference for value in node.values() for reference in references(value)]
        return [reference for value in node for reference in references(value)] if isinstance(node, list) else []

    found = references(document())
    assert found
    assert {reference.removeprefix("#/components/schemas/") for reference in found} <= set(schemas)


async def test_every_route_of_the_document_is_served_and_guarded(gateway: Served) -> None:
    paths = document()["paths"]

    for route in ROUTES:
        answer = await gateway.ask(route.method, route.path.replace("{", "").replace("}", ""), None)
        assert answer.status == (410 if route.open else 401), route
        assert str(answer.status) not in paths.get(route.path, {}).get(route.method.lower(), {}).get("responses", {})
