"""The image object, from documents in every state."""

from datetime import UTC, datetime

import pytest

from services.upload.models import ImageObject, ImageProgress
from shared.store.documents.images import Image
from shared.store.documents.versions import Failure, Recipe, Source, Stage, Stages, State, Version, VersionId
from shared.store.view import image_object, moment, progress_object
from shared.tiles.geometry import Geometry

NOW = datetime(2026, 1, 2, 3, 4, 5, 60_000, UTC)
IMAGE = Image(id="1" * 32, session="2" * 32, name="a.svs", latest=1, created=NOW)
WAITING = Version(
    id=VersionId(image="1" * 32, n=1), session="2" * 32, file="3" * 32, name="a.svs", created=NOW, updated=NOW
)


def test_times_are_utc_with_milliseconds() -> None:
    assert moment(NOW) == "2026-01-02T03:04:05.060Z"
    assert moment(None) is None


@pytest.mark.parametrize(
    ("state", "stage"),
    [("uploading", "upload"), ("dicing", "dice"), ("folding", "fold"), ("finishing", "finish"), ("ready", "finish")],
)
def test_progress_is_that_of_the_present_stage(state: State, stage: str) -> None:
    stages = Stages(**{stage: Stage(started=NOW, done=3, total=7)})

    told = progress_object(IMAGE, WAITING.model_copy(update={"state": state, "stages": stages}))

    assert (told["stage"], told["done"], told["total"]) == (stage, 3, 7)
    ImageProgress.model_validate(told)


def test_a_stage_that_had_nothing_to_do_ended_at_nought_of_nought() -> None:
    stages = Stages(fold=Stage(started=NOW, ended=NOW))

    told = image_object(IMAGE, WAITING.model_copy(update={"state": "ready", "stages": stages}))["stages"]

    assert (told["fold"]["done"], told["fold"]["total"]) == (0, 0)
    assert told["finish"]["total"] is None


def test_a_failed_image_names_the_stage_that_failed() -> None:
    failure = Failure(stage="fold", reason="It broke.", remedy="Send it again.")

    told = progress_object(IMAGE, WAITING.model_copy(update={"state": "failed", "failure": failure}))

    assert told["stage"] == "fold"
    assert told["failure"] == {"stage": "fold", "reason": "It broke.", "remedy": "Send it again."}


def test_a_ready_image_tells_everything() -> None:
    ended = Stage(started=NOW, ended=NOW, done=1, total=1)
    version = WAITING.model_copy(
        update={
            "state": "ready",
            "length": 9,
            "md5": "m",
            "sha256": "s",
            "stages": Stages(upload=ended, dice=ended, fold=ended, finish=ended),
            "geometry": Geometry(width=20_000, height=15_000, tile=256),
            "source": Source(
                reader="tiff-tiles",
                suffix=".svs",
                vendor="aperio",
                mpp=0.5,
                objective=20.0,
                barcode="S26-1",
                scanned="2026-01-02T10:00:00",
            ),
            "recipe": Recipe(revision=2, quality=85, subsampling="444", tile=256),
            "base": "copied",
            "stored": 6_000,
            "sparse": 2,
        }
    )

    told = image_object(IMAGE.model_copy(update={"current": 1}), version)

    ImageObject.model_validate(told)
    assert (told["width"], told["height"], told["tile_size"], told["levels"]) == (20_000, 15_000, 256, 8)
    assert (told["tiles"], told["viewable"], told["base"]) == ({"stored": 6_000, "sparse": 2}, True, "copied")
    assert (told["quality"], told["subsampling"]) == (85, "444")
    assert (told["mpp"], told["objective"], told["vendor"]) == (0.5, 20.0, "aperio")
    assert (told["barcode"], told["scanned"]) == ("S26-1", "2026-01-02T10:00:00")


def test_an_image_whose_version_is_just_being_made_is_uploading() -> None:
    told = progress_object(IMAGE, None)

    ImageProgress.model_validate(told)
    assert (told["state"], told["stage"]) == ("uploading", "upload")
