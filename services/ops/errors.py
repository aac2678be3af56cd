"""How a command ends when it does not succeed: with one sentence and an exit code that scripts can rely on."""


class CommandFailed(Exception):
    """The command could not do what it was asked to: exit code 1."""

    code = 1


class Refused(CommandFailed):
    """The gateway refused a request; `image` is the failed image that it made for a refused file, if it did.

    `final` tells that the same request will be refused again, whatever people do about rights, quotas and disks.
    """

    def __init__(self, sentence: str, status: int, image: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.image = image

    @property
    def final(self) -> bool:
        """Whether there is nothing to go on with."""
        return self.status not in (401, 403, 429, 507)


class Misused(CommandFailed):
    """The options contradict each other or leave out what is needed: exit code 2."""

    code = 2


class StackUnreachable(CommandFailed):
    """Nothing answers where the stack should be: exit code 3."""

    code = 3
