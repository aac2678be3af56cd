"""Conditions as MongoDB's queries. Pure."""

from typing import Any

from shared.store import Greater, In, Less, Where
from shared.store.schema import plain


def matching(where: Where) -> dict[str, Any]:
    """The query for documents that meet these conditions."""
    return {path: _condition(value) for path, value in where.items()}


def one(id: Any, when: Where | None) -> dict[str, Any]:
    """The query for the document of this id, if it meets the conditions."""
    return {"_id": plain(id), "$and": [matching(when)]} if when else {"_id": plain(id)}


def past(sort: str, after: tuple[Any, Any]) -> dict[str, Any]:
    """The query for what comes after this pair, ascending by (`sort`, `_id`)."""
    value, id = plain(after[0]), plain(after[1])
    if sort == "_id":
        return {"_id": {"$gt": id}}
    # Null comes first in order, but compares with nothing.
    higher = {sort: {"$ne": None}} if value is None else {sort: {"$gt": value}}
    return {"$or": [higher, {sort: value, "_id": {"$gt": id}}]}


def _condition(value: Any) -> Any:
    match value:
        case In(values):
            return {"$in": [plain(item) for item in values]}
        case Less(limit):
            return {"$lt": plain(limit)}
        case Greater(limit):
            return {"$gt": plain(limit)}
    # Spelled out, so that no value can be taken for an operator.
    return {"$eq": plain(value)}
