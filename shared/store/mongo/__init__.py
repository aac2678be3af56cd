"""Documents in MongoDB, one collection for each kind."""

from shared.store.mongo.store import MongoStore

__all__ = ["MongoStore"]
