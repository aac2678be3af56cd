"""The bodies of the interface for administrators."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from services.upload.models import Body, Id, Moment
from shared.store.documents.versions import State

Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
StageOfMessages = Literal["dicer", "pyramid", "sync"]


class OldestObject(Body):
    """The slide of a stage on which nothing has happened for the longest, `since` when: what MongoDB says."""

    image: Id
    session: Id
    name: str
    since: Moment


class PipelineStage(Body):
    """One stage. `upload` has no queue; null is also what can't be known now, or a stage that never ran here.

    `express` and `bulk` are messages that wait; those that a worker holds do not count. `workers` are processes.
    """

    stage: Literal["upload", "dicer", "pyramid", "sync"]
    express: int | None
    bulk: int | None
    dead: int | None
    workers: int | None
    oldest: OldestObject | None


class DeadWork(Body):
    """What this gateway is just doing with dead letters, and how many it has done."""

    action: Literal["retry", "discard"]
    done: int


class PipelineObject(Body):
    """The pipeline at a moment. `states` counts versions; `superseded` of them have a later version of their image.

    `delayed` are messages that wait for a further try, of all stages together. `broker` says what is wrong with it.
    """

    at: Moment
    states: dict[State, int]
    superseded: int
    stages: list[PipelineStage]
    delayed: dict[str, int] | None
    broker: str | None
    dead_work: DeadWork | None


class LetterSummary(Body):
    """A dead letter, as lists tell of it."""

    id: str
    group: str
    stage: str
    cause: str
    detail: str
    type: str | None
    image: str | None
    first: Moment | None
    last: Moment | None


class LetterObject(LetterSummary):
    """A dead letter with headers and body: `event` if that is JSON, else `text`, else `base64`.

    A body of more than 100,000 bytes is left out; `bytes` is its length.
    """

    headers: dict[str, Any]
    event: Any
    text: str | None
    base64: str | None
    bytes: int


class GroupObject(Body):
    """Dead letters of one stage and type that died of the same; the last of them is the example."""

    group: str
    stage: str
    cause: str
    type: str | None
    count: int
    first: Moment | None
    last: Moment | None
    example: LetterSummary


class GroupPage(Body):
    """Groups of dead letters, the largest first."""

    items: list[GroupObject]
    next: str | None


class LetterPage(Body):
    """The first dead letters of a group, or one letter."""

    items: list[LetterObject]
    next: str | None


class Retrying(Body):
    """Which dead letters are sent again: those of these ids or groups, or `all`; of one stage, if it is named."""

    names: Annotated[list[str], Field(max_length=1000)] = Field(default_factory=list)
    all: bool = False
    stage: StageOfMessages | None = None
    reason: Reason = ""


class Discarding(Retrying):
    """Which dead letters are thrown away, and why."""

    reason: Annotated[Reason, StringConstraints(min_length=1)]


class DeadDone(Body):
    """How many were sent again or thrown away. Those of a run that has not `ended` follow without further asking."""

    count: int
    ended: bool
    audit: str


class Because(Body):
    """Why something is done by hand; for the audit."""

    reason: Reason = ""


class Anew(Because):
    """From where an image is processed anew: `dice` makes a further version, `finish` its small pictures in place."""

    start: Annotated[Literal["dice", "finish"], Field(alias="from")] = "dice"


class GoingOn(Body):
    """What has become of the image."""

    image: Id
    version: int
    state: State
    audit: str


class TimelineItem(Body):
    """Something that happened to an image. `after` is the event that brought it about, `by` the person or worker."""

    time: Moment
    version: int
    kind: Literal["fact", "step", "failure", "hand", "now"]
    title: str
    detail: str | None
    event: str | None
    type: str | None
    after: str | None
    by: str | None
    source: Literal["database", "journal", "audit"]


class TimelineObject(Body):
    """What happened to an image, oldest first. `journal` says whether that was read: `off` unless asked for."""

    image: Id
    name: str
    session: Id
    items: list[TimelineItem]
    journal: Literal["off", "read", "cut", "unreachable"]
