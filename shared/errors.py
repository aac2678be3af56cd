"""Errors by what should happen next, not by where they came from.

A handler that raises one of these tells the runner what to do with its delivery; anything else is a bug and is
retried like `RetryLater`, with a traceback in the log.
"""


class SlidemillError(Exception):
    """Root of every error that slidemill raises on purpose."""


class Unavailable(SlidemillError):
    """The database, the file store or the broker can't be reached. Says nothing about the image: costs no attempt."""


class RetryLater(SlidemillError):
    """Something about this image that may pass, such as a file that another worker is still fetching."""


class Postponed(SlidemillError):
    """Nothing is wrong, but what this needs isn't there yet and comes by itself: costs no attempt, holds nobody up."""


class Reject(SlidemillError):
    """Never going to work. `reason` and `remedy` are one sentence each, for the technician who sent the slide.

    `heard` is what a library said of it in its own words, for the operator: the dead letter keeps it.
    """

    def __init__(self, reason: str, remedy: str, heard: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        # Libraries speak in several lines.
        self.heard = " ".join(heard.split())

    def __reduce__(self) -> tuple[type["Reject"], tuple[str, str, str]]:
        """Decoder children raise this across a process border, so it must survive pickling."""
        return type(self), (self.reason, self.remedy, self.heard)


class DecoderDied(SlidemillError):
    """A decoder child crashed, ran out of memory or of time on this block; the service itself is well.

    `remedy` is what to do about it, where the slide is hardly to blame.
    """

    def __init__(self, told: str, remedy: str | None = None) -> None:
        super().__init__(told)
        self.remedy = remedy


class ChunkConflict(SlidemillError):
    """A chunk was sent again with other bytes than the stored ones."""
