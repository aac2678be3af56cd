"""Named points at which a test may kill a service: `SLIDEMILL_CRASH=before-publish:3` ends it at the third pass.

The process ends as if by `kill -9`, with status 137. Points: `before-publish` (a handler has returned, nothing is
published), `after-publish` (everything is confirmed, the delivery is not acked), `after-last-block` (a stage's last
block is done, the stage has not ended).
"""

import os
from typing import Literal

Point = Literal["before-publish", "after-publish", "after-last-block"]
VARIABLE = "SLIDEMILL_CRASH"


class CrashPoint:
    """Counts the passes of the point that the environment names; does nothing unless it names one."""

    def __init__(self) -> None:
        self._point, _, passes = os.environ.get(VARIABLE, "").partition(":")
        self._left = int(passes or 1)

    def passes(self, point: Point) -> None:
        """Ends the process, if this is the pass to do so."""
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.write(2, f"crash point {point}\n".encode())
                os._exit(137)
