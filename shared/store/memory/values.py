"""Values as MongoDB has them: what is equal, what comes first, and what meets a condition. Pure."""

from datetime import UTC
from typing import Any

import bson
from bson.codec_options import CodecOptions

from shared.store import Greater, In, Less, Where
from shared.store.schema import plain

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)


def normal(value: Any) -> Any:
    """The value as MongoDB would give it back."""
    return bson.decode(bson.encode({"": plain(value)}), CODEC)[""]


def at(document: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for name in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Puts a value at a dotted path, making the documents on the way to it."""
    *parents, name = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[name] = value


def same(left: Any, right: Any) -> bool:
    """Equal as MongoDB sees it: a document's fields have an order, and true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left.items()) == list(right.items())
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _equals(stored: Any, value: Any) -> bool:
    return same(stored, value) or (isinstance(stored, list) and any(same(item, value) for item in stored))


def order(value: Any) -> Any:
    """A sort key: null first, an embedded document by its values in order."""
    if value is None:
        return (0,)
    return (1, tuple(order(item) for item in value.values()) if isinstance(value, dict) else value)


def _comparable(stored: Any, limit: Any) -> bool:
    # Whole numbers come in two sizes.
    numbers = (int, bson.Int64, float)
    return type(stored) is type(limit) or (type(stored) in numbers and type(limit) in numbers)


def _holds(stored: Any, condition: Any) -> bool:
    match condition:
        case In(values):
            return any(_equals(stored, value) for value in values)
        case Less(limit):
            return _comparable(stored, limit) and order(stored) < order(limit)
        case Greater(limit):
            return _comparable(stored, limit) and order(stored) > order(limit)
    return _equals(stored, condition)


def prepared(where: Where) -> list[tuple[str, Any]]:
    """The conditions by path, with their values as MongoDB would have them."""
    made: list[tuple[str, Any]] = []
    for path, condition in where.items():
        match condition:
            case In(values):
                made.append((path, In(normal(list(values)))))
            case Less(limit):
                made.append((path, Less(normal(limit))))
            case Greater(limit):
                made.append((path, Greater(normal(limit))))
            case _:
                made.append((path, normal(condition)))
    return made


def matches(document: dict[str, Any], conditions: list[tuple[str, Any]]) -> bool:
    """Whether the document meets all of these conditions."""
    return all(_holds(at(document, path), condition) for path, condition in conditions)
