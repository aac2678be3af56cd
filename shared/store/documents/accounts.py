"""Who may do what: accounts, their tokens and sign-in links."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.store.documents import Document


class Account(Document):
    """Somebody who may sign in."""

    id: str = Field(alias="_id")
    name: str
    admin: bool = False
    created: datetime


class Token(Document):
    """A bearer token or a browser's session cookie. `id` is the SHA-256 of the secret, which is kept nowhere."""

    id: str = Field(alias="_id")
    account: str
    kind: Literal["api", "browser"]
    created: datetime
    expires: datetime | None = None


class SignIn(Document):
    """A one-time sign-in link. `id` is the SHA-256 of its code; taking it deletes it."""

    id: str = Field(alias="_id")
    account: str
    expires: datetime
