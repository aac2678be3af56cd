"""What people see of an image: its documents turned into the image object of the HTTP interface. Pure."""

from datetime import UTC, datetime
from typing import Any

from shared.events import StageName
from shared.store.documents.images import Image
from shared.store.documents.versions import Stage, State, Version

STAGE_OF: dict[State, StageName] = {
    "uploading": "upload",
    "dicing": "dice",
    "folding": "fold",
    "finishing": "finish",
    "ready": "finish",
    "failed": "upload",
}


def moment(time: datetime | None) -> str | None:
    """RFC 3339 in UTC with milliseconds and `Z`; None stays None."""
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "started": moment(stage.started),
        "ended": moment(stage.ended),
        "done": stage.done,
        # A stage that has ended without work, as the fold of what the dicer folded while it read it, had none to do.
        "total": stage.total if stage.total or stage.ended else None,
    }


def image_object(image: Image, version: Version | None) -> dict[str, Any]:
    """The image object, from the image and its latest version. Unknown values are None, never absent.

    Tile counts are known once every level is stored. `version` is None for the moment in which it is being made.
    """
    stages = {
        name: _stage(getattr(version.stages, name) if version else Stage())
        for name in ("upload", "dice", "fold", "finish")
    }
    geometry = version.geometry if version else None
    source = version.source if version else None
    recipe = version.recipe if version else None
    counted = version is not None and version.stages.fold.ended is not None
    return {
        "id": image.id,
        "session": image.session,
        "name": image.name,
        "folder": image.folder,
        "state": version.state if version else "uploading",
        "viewable": image.current > 0,
        "stages": stages,
        "failure": version.failure.model_dump() if version and version.failure else None,
        "width": geometry.width if geometry else None,
        "height": geometry.height if geometry else None,
        "tile_size": geometry.tile if geometry else None,
        "levels": geometry.levels if geometry else None,
        "tiles": {
            "stored": version.stored if version and counted else None,
            "sparse": version.sparse if version and counted else None,
        },
        "base": version.base if version else None,
        "base_reason": version.base_reason if version else None,
        "quality": recipe.quality if recipe else None,
        "subsampling": recipe.subsampling if recipe else None,
        "mpp": source.mpp if source else None,
        "objective": source.objective if source else None,
        "vendor": source.vendor if source else None,
        "barcode": source.barcode if source else None,
        "scanned": source.scanned if source else None,
        "version": image.latest,
        "length": version.length if version else None,
        "md5": version.md5 if version else None,
        "sha256": version.sha256 if version else None,
        "source": image.source,
        "source_vanished": moment(image.source_vanished),
    }


def progress_object(image: Image, version: Version | None) -> dict[str, Any]:
    """What the event stream says of an image: the image object, and how far its present stage is."""
    told = image_object(image, version)
    name = version.failure.stage if version and version.failure else STAGE_OF[told["state"]]
    stage = told["stages"][name]
    return {**told, "stage": name, "done": stage["done"], "total": stage["total"]}
