"""The routes for administrators."""

from services.upload.admin import routes
from services.upload.admin.models import (
    Anew,
    Because,
    DeadDone,
    Discarding,
    GoingOn,
    GroupPage,
    LetterPage,
    PipelineObject,
    Retrying,
    TimelineObject,
)
from services.upload.route import API, Route

DEAD = f"{API}/dead-letters"

OPERATING: tuple[Route, ...] = (
    Route(
        "GET",
        f"{API}/pipeline",
        routes.pipeline,
        "Queues, workers, dead letters and the oldest slides of every stage. For administrators.",
        {200: PipelineObject},
    ),
    Route(
        "GET",
        DEAD,
        routes.list_dead,
        "Dead letters, grouped by what they died of. For administrators.",
        {200: GroupPage},
        query={"stage": "Only those of this stage: `dicer`, `pyramid` or `sync`."},
    ),
    Route(
        "GET",
        f"{DEAD}/{{name}}",
        routes.show_dead,
        "The dead letters of a group, or one letter, with headers and body. For administrators.",
        {200: LetterPage},
        query={"limit": "How many letters at most: 100 unless told, no more than 1000."},
    ),
    Route(
        "POST",
        f"{DEAD}/retry",
        routes.retry_dead,
        "Send dead letters again with all their tries; images that had failed go on. 202: the rest follows.",
        {200: DeadDone, 202: DeadDone},
        body=Retrying,
    ),
    Route(
        "POST",
        f"{DEAD}/discard",
        routes.discard_dead,
        "Throw dead letters away; what they were stays in the audit. 202: the rest follows.",
        {200: DeadDone, 202: DeadDone},
        body=Discarding,
    ),
    Route(
        "POST",
        f"{API}/images/{{image}}/retry",
        routes.retry_image,
        "Let an image go on where it failed; what is done already stays. For administrators.",
        {200: GoingOn},
        body=Because,
    ),
    Route(
        "POST",
        f"{API}/images/{{image}}/reprocess",
        routes.reprocess_image,
        "Process an image anew as a further version, the old one staying visible, or finish it again in place.",
        {200: GoingOn},
        body=Anew,
    ),
    Route(
        "GET",
        f"{API}/images/{{image}}/timeline",
        routes.image_timeline,
        "What happened to an image, oldest first. For administrators.",
        {200: TimelineObject},
        query={"journal": "`true`: also read what only the broker's journal knows; that takes seconds."},
    ),
)
