"""Which database this is."""

from pydantic import Field

from shared.store.documents import Document


class Deployment(Document):
    """This database's own record: `id` is `deployment`; `claim` names it on the broker."""

    id: str = Field(alias="_id")
    claim: str
