"""What is to be published of a version as it is, and which version a message is about. Pure."""

from typing import Any

from shared.events import BaseDiced, Event, FileComplete, ImageEvent, PyramidBuilt
from shared.store.documents.versions import Version, VersionId


def version_id(event: ImageEvent) -> VersionId:
    """The id of the version that an event is about."""
    return VersionId(image=event.image, n=event.version)


def announcement(version: Version, database: str) -> Event | None:
    """The fact that puts this version's next step on its way, rebuilt from the document; None before it is uploaded.

    For a version that is ready it is the first fact, which every stage then answers with nothing.
    """
    dice, fold = version.stages.dice, version.stages.fold
    about: dict[str, Any] = {"database": database, "image": version.id.image, "version": version.id.n}
    if version.state == "folding" and dice.ended and version.geometry and version.base:
        return BaseDiced(
            **about, time=dice.ended, geometry=version.geometry, base=version.base, base_reason=version.base_reason
        )
    if version.state == "finishing" and fold.ended and version.geometry:
        return PyramidBuilt(
            **about, time=fold.ended, levels=version.geometry.levels, stored=version.stored, sparse=version.sparse
        )
    return file_complete(version, database)


def file_complete(version: Version, database: str) -> FileComplete | None:
    """The fact that this version's file is there whole; None before it is."""
    ended = version.stages.upload.ended
    if ended is None or version.length is None or version.md5 is None or version.sha256 is None:
        return None
    return FileComplete(
        database=database,
        time=ended,
        image=version.id.image,
        version=version.id.n,
        file=version.file,
        session=version.session,
        name=version.name,
        length=version.length,
        md5=version.md5,
        sha256=version.sha256,
    )


def handover(version: Version | None, database: str) -> list[Event]:
    """The fact that the next stage is still waiting for: returned again until that stage has begun."""
    if version is None:
        return []
    waiting = (version.state == "folding" and "fold" not in version.planned) or (
        version.state == "finishing" and version.stages.finish.started is None
    )
    fact = announcement(version, database) if waiting else None
    return [fact] if fact is not None else []
