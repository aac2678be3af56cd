"""Writes down what is done by hand to messages and images: before it is done, so that nothing is done unseen."""

import uuid
from collections.abc import Mapping
from typing import Any

from shared.clock import Clock
from shared.store import Store
from shared.store.documents.audits import Audit

SUBJECTS_PER_PART = 1000


class Audited:
    """One run of one action; nothing is written as long as it concerns nothing."""

    def __init__(
        self, store: Store, clock: Clock, *, action: str, by: str, reason: str, selection: Mapping[str, Any]
    ) -> None:
        self.run = uuid.uuid4().hex
        self.by = by
        self.reason = reason
        self._store = store
        self._clock = clock
        self._action = action
        self._selection = dict(selection)
        self._noted = 0

    @property
    def noted(self) -> int:
        """How many things were noted so far."""
        return self._noted

    async def note(self, subject: str, image: str | None = None) -> None:
        """Notes what is to be done next, in words for a person, and the image that it concerns."""
        part, place = divmod(self._noted, SUBJECTS_PER_PART)
        id = f"{self.run}-{part:04}"
        if place == 0:
            await self._store.audits.insert(
                Audit(
                    id=id,
                    run=self.run,
                    at=self._clock.now(),
                    by=self.by,
                    action=self._action,
                    reason=self.reason,
                    selection=self._selection,
                )
            )
        await self._store.audits.update(id, add={"subjects": subject, **({"images": image} if image else {})})
        self._noted += 1
