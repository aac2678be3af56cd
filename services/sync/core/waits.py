"""How long what could not be imported is left alone."""

from datetime import timedelta

FIRST_WAIT = timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=24)


def wait(tries: int) -> timedelta:
    """How long a file that could not be imported is left alone after so many tries, from 1."""
    return min(FIRST_WAIT * (1 << min(tries - 1, 16)), LONGEST_WAIT)
