"""Who may do what: the one decision that every HTTP route asks for, tiles and event streams too. Pure."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Action = Literal["create", "see", "change", "operate"]


@dataclass(frozen=True)
class Principal:
    """The account behind a request. `token` is the id of the token or cookie it came with."""

    account: str
    name: str
    admin: bool
    token: str
    via: Literal["api", "browser"]


class Decision(Enum):
    """What to answer: go on, 401, 404 as if it did not exist, or 403."""

    ALLOW = "allow"
    SIGN_IN = "sign-in"
    HIDE = "hide"
    FORBID = "forbid"


def decide(principal: Principal | None, action: Action, owner: str | None = None) -> Decision:
    """Whether this account may do this to something of `owner`'s.

    `create` asks for an account only: what it makes, lists or looks up is its own. `see` and `change` are the owner's
    and the administrators'; to everybody else the thing does not exist, and nor does one without an owner. `operate`
    (queues, dead letters, replay) is the administrators'.
    """
    if principal is None:
        return Decision.SIGN_IN
    if action == "create" or principal.admin:
        return Decision.ALLOW
    if action == "operate":
        return Decision.FORBID
    return Decision.ALLOW if owner is not None and owner == principal.account else Decision.HIDE
