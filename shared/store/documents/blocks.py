"""The pieces that a stage is done in."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.store.documents import Document
from shared.tiles.geometry import Rect


class BlockId(BaseModel):
    """Names one block. `stage` is `dice` or `fold`; `n` counts from 0 within the version's stage."""

    model_config = ConfigDict(frozen=True)

    image: str
    version: int
    stage: Literal["dice", "fold"]
    n: int


class Block(Document):
    """One message's work: a rectangle of tiles.

    dice: `rect` lies on level 0. fold: `rect` is the square of tiles on `rect.level` that is folded into the levels
    above it. `tiles` is how many positions it fills. Round 0 folds base tiles, each next round the `root`s of the round
    before: plain pixels, so that no level starts from a JPEG of ours. `sparse` is a bitmap (see `shared.tiles.sparse`)
    of the positions without a tile. `extents` says where a copied base's tiles lie in the file: byte offsets, then
    lengths, little-endian 64-bit.
    """

    id: BlockId = Field(alias="_id")
    rect: Rect
    tiles: int
    round: int = 0
    done: bool = False
    attempts: int = 0
    deaths: int = 0
    issued: datetime
    root: bytes | None = None
    sparse: bytes | None = None
    extents: bytes | None = None
    by: str | None = None
