"""What every document store has in common: its collections, their unique keys, and documents as plain values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from shared.store.documents import Document
from shared.store.documents.accounts import Account, SignIn, Token
from shared.store.documents.audits import Audit
from shared.store.documents.blocks import Block
from shared.store.documents.deployments import Deployment
from shared.store.documents.entries import Entry
from shared.store.documents.folders import FolderStore, Report
from shared.store.documents.images import Image, Session, Thumbnail
from shared.store.documents.ticks import Tick
from shared.store.documents.tombstones import Tombstone
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Version

D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Kind(Generic[D]):
    """One collection: its name, its model, and the fields that are unique together besides `_id`.

    A document in which one of them is null takes no part in it.
    """

    name: str
    model: type[D]
    unique: tuple[str, ...] = ()


ACCOUNTS = Kind("accounts", Account, unique=("name",))
TOKENS = Kind("tokens", Token)
SIGNINS = Kind("signins", SignIn)
SESSIONS = Kind("sessions", Session)
UPLOADS = Kind("uploads", Upload, unique=("owner", "key"))
IMAGES = Kind("images", Image)
VERSIONS = Kind("versions", Version)
BLOCKS = Kind("blocks", Block)
AUDITS = Kind("audits", Audit)
THUMBNAILS = Kind("thumbnails", Thumbnail)
TICKS = Kind("ticks", Tick)
TOMBSTONES = Kind("tombstones", Tombstone)
DEPLOYMENTS = Kind("deployments", Deployment)
STORES = Kind("stores", FolderStore, unique=("name",))
REPORTS = Kind("reports", Report)
ENTRIES = Kind("entries", Entry)


def plain(value: Any) -> Any:
    """The value with every model in it as a mapping of its fields; times and bytes stay what they are."""
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value
