"""Events as a stage gets them, for tests in which what they say matters little."""

from datetime import UTC, datetime

from shared.events import BaseDiced, DiceBlock, FileComplete, Lane, PyramidBuilt
from shared.tiles.geometry import Geometry

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
IMAGE = "ab" * 16


def image_id(number: int) -> str:
    return f"{number:032x}"


def file_complete(
    version: int = 1, *, image: str = IMAGE, name: str = "Niere ä.svs", database: str = "slidemill"
) -> FileComplete:
    return FileComplete(
        database=database,
        time=NOW,
        image=image,
        version=version,
        file="f" * 32,
        session="5" * 32,
        name=name,
        length=7,
        md5="0" * 32,
        sha256="0" * 64,
    )


def dice_block(block: int = 0, lane: Lane = "bulk", *, image: str = IMAGE) -> DiceBlock:
    return DiceBlock(database="slidemill", time=NOW, image=image, version=1, block=block, lane=lane)


def base_diced(version: int = 1) -> BaseDiced:
    geometry = Geometry(width=10, height=10, tile=256)
    return BaseDiced(database="slidemill", time=NOW, image=IMAGE, version=version, geometry=geometry, base="copied")


def pyramid_built() -> PyramidBuilt:
    return PyramidBuilt(database="slidemill", time=NOW, image=IMAGE, version=1, levels=1, stored=1, sparse=0)
