"""The HTTP interface as an OpenAPI 3.1 document, made of the table of routes and the models. Pure."""

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.upload.models import ProblemObject
from services.upload.route import Route
from services.upload.routes import ROUTES

SCHEMAS = "#/components/schemas/{model}"
MEANINGS = {
    200: "As asked.",
    201: "Made.",
    202: "Begun.",
    204: "Done.",
    303: "Signed in.",
}


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": SCHEMAS.format(model=model.__name__)}


def _parameter(place: str, name: str, meaning: str | None) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
    return {**parameter, "description": meaning} if meaning else parameter


def _body(route: Route) -> dict[str, Any]:
    if route.body is None:
        return {}
    if isinstance(route.body, tuple):
        content: dict[str, Any] = {media: {} for media in route.body}
    else:
        content = {"application/json": {"schema": _schema(route.body)}}
    return {"requestBody": {"required": True, "content": content}}


def _operation(route: Route) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(status): {
            "description": MEANINGS[status],
            **({"content": {route.media: {"schema": _schema(model)}}} if model else {}),
        }
        for status, model in route.answers.items()
    }
    answers["default"] = {
        "description": "What is wrong, and what to do.",
        "content": {"application/problem+json": {"schema": _schema(ProblemObject)}},
    }
    parameters = [
        *(_parameter("path", name, None) for name in re.findall(r"{(\w+)}", route.path)),
        *(_parameter("query", name, meaning) for name, meaning in route.query.items()),
        *(_parameter("header", name, meaning) for name, meaning in route.headers.items()),
    ]
    return {
        "summary": route.summary,
        **({"parameters": parameters} if parameters else {}),
        **_body(route),
        "responses": answers,
        **({"security": []} if route.open else {}),
    }


def document() -> dict[str, Any]:
    """The whole document, in plain values."""
    models: list[type[BaseModel]] = [ProblemObject]
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        models += [model for model in (*route.answers.values(), route.body) if isinstance(model, type)]
        # The addresses with {name} and {upload} differ for us only: to OpenAPI they are the same place.
        path = re.sub(r"/files/{\w+}", "/files/{upload}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    _, definitions = models_json_schema(
        [(model, "serialization") for model in dict.fromkeys(models)], ref_template=SCHEMAS
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "slidemill",
            "version": "1",
            "description": "Upload whole-slide images, follow them through the pipeline, and see them.",
        },
        "security": [{"bearer": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "slidemill"},
            },
            "schemas": dict(sorted(definitions["$defs"].items())),
        },
    }
