"""The shapes of every document in MongoDB. Times are UTC; ids are 32 hex digits unless said otherwise."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Common part: `id` is `_id` in the database; unknown fields of a newer release are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
