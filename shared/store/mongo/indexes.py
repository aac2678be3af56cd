"""Every index, by collection."""

from collections.abc import Mapping
from typing import Any

from pymongo import IndexModel

from shared.stages.states import STAGE_OF_STATE


def _index(*paths: str, unique: bool = False, only: Mapping[str, Any] | None = None) -> IndexModel:
    options: dict[str, Any] = {"unique": True} if unique else {}
    if only is not None:
        options["partialFilterExpression"] = dict(only)
    return IndexModel([(path, 1) for path in paths], **options)


INDEXES: dict[str, list[IndexModel]] = {
    "accounts": [_index("name", unique=True)],
    "tokens": [_index("account")],
    "sessions": [_index("owner", "created", "_id"), _index("created", "_id")],
    "uploads": [
        _index("owner", "key", unique=True, only={"key": {"$type": "string"}}),
        _index("state", "updated"),
        # Few, while `complete` are all that ever came: the relay asks for these every few seconds.
        _index("announced", "state", "updated", only={"announced": False}),
        _index("session"),
        _index("image"),
        _index("owner", "state", "total"),
    ],
    "images": [_index("session", "created", "_id"), _index("replaced")],
    "versions": [
        _index("_id.image", "_id.n"),
        _index("session", "updated"),
        _index("sha256"),
        # With `_id`, as `find` sorts: the first hundred of those that wait are found without reading the others.
        _index("state", "updated", "_id", only={"state": {"$in": list(STAGE_OF_STATE)}}),
        # Hardly any: repair asks for each count of them, and must not read all that waits to find none.
        _index("reissues", "state", "updated", only={"reissues": {"$gt": 0}}),
    ],
    "blocks": [
        _index("_id.image", "_id.version", "_id.stage"),
        _index("_id.image", "_id.version", "_id.stage", "done", "round", only={"done": False}),
    ],
    "audits": [_index("at"), _index("images")],
    "ticks": [_index("started"), _index("order", "_id"), _index("done", "missed", "order", "_id")],
    "tombstones": [_index("due")],
    "stores": [_index("name", unique=True, only={"name": {"$type": "string"}}), _index("created", "_id")],
    "entries": [
        _index("_id.store", "folder", "name", "_id"),
        _index("_id.store", "state", "_id"),
        _index("_id.store", "sha256"),
        _index("_id.store", "claim", only={"claim": {"$type": "string"}}),
        _index("asked", only={"asked": {"$type": "string"}}),
        _index("found_by", "found", only={"found_by": {"$type": "string"}}),
        _index("done_by", "outcome", only={"done_by": {"$type": "string"}}),
    ],
    "reports": [_index("store", "order", "_id"), _index("tick"), _index("again")],
}
