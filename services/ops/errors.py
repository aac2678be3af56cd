"""How a command ends when it does not succeed: with one sentence and an exit code that scripts can rely on."""


class CommandFailed(Exception):
    """The command could not do what it was asked to: exit code 1."""

    code = 1


class StackUnreachable(CommandFailed):
    """Nothing answers where the stack should be: exit code 3."""

    code = 3
