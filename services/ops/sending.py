"""Sends one slide in chunks that can be repeated, and goes on with what an earlier command left half sent."""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from services.ops.errors import CommandFailed, Refused
from services.ops.gateway import Gateway
from services.ops.gathering import SlideFiles
from services.ops.progress import UploadProgress
from services.ops.reading import Source, opened
from services.ops.records import Begun, Records, begin

CHUNK = 4 * 2**20


@dataclass
class Sender:
    """Sends slides into one session. Records of `sent` ones stay until `forget`: the command may yet be broken off."""

    gateway: Gateway
    session: str
    records: Records
    progress: UploadProgress
    sent: list[Begun] = field(default_factory=list)

    async def send(self, slide: SlideFiles) -> str:
        """Send a slide; returns its image's id. Its SHA-256 goes with the last chunk, so that the gateway proves it.

        Raises `Refused`, `StackUnreachable`, `OSError`, and `CommandFailed` when it changes meanwhile.
        """
        begun, stored = await self._begun(slide)
        if stored is not None and stored["done"]:
            self.progress.started(slide.path, begun.size, begun.size)
            image = str(stored["image"])
        else:
            try:
                image = await self._chunks(slide, begun, _next_byte(stored, begun.size))
            except Refused as refusal:
                if refusal.final:
                    self.records.forget(begun)
                raise
        self.sent.append(begun)
        return image

    def forget(self) -> None:
        """Remove the records of everything that was sent: there is nothing to go on with."""
        for begun in self.sent:
            self.records.forget(begun)

    async def _begun(self, slide: SlideFiles) -> tuple[Begun, dict[str, Any] | None]:
        """The upload to go on with or to begin, and what the gateway says of it if it knows it."""
        now = begin(slide, self.session)
        earlier = self.records.find(now)
        if earlier is not None and not earlier.still(now):
            await self._cancel(earlier)
        elif earlier is not None and earlier.upload is None:
            return earlier, None
        elif earlier is not None and (stored := await self._stored(earlier)) is not None:
            return earlier, stored
        self.records.keep(now)
        return now, None

    async def _stored(self, begun: Begun) -> dict[str, Any] | None:
        try:
            stored = await self.gateway.request("GET", f"/sessions/{self.session}/files/{begun.upload}")
        except Refused as refusal:
            if refusal.final:
                return None
            raise
        return None if stored["state"] in ("failed", "expired") else stored

    async def _cancel(self, begun: Begun) -> None:
        """Take away what was sent of a slide that is another one by now."""
        if begun.upload is not None:
            with suppress(Refused):
                await self.gateway.request("DELETE", f"/sessions/{self.session}/files/{begun.upload}")

    async def _chunks(self, slide: SlideFiles, begun: Begun, start: int) -> str:
        sha256 = hashlib.sha256()
        where = {"name": slide.path.name} if begun.upload is None else {"_id": begun.upload}
        self.progress.started(slide.path, begun.size, start)
        if slide.members:
            self.progress.reading(slide.path)
        async with opened(slide) as source:
            # What is stored already is read once more, since the digest is over the whole file.
            while (sent := source.tell()) < start:
                if not await asyncio.to_thread(_read, source, sha256):
                    break
            while True:
                chunk = await asyncio.to_thread(_read, source, sha256)
                stop = sent + len(chunk)
                last = stop >= begun.size
                changed = last and not begun.still(begin(slide, self.session))
                if changed or stop > begun.size or not (last or len(chunk) == CHUNK):
                    await self._cancel(begun)
                    self.records.forget(begun)
                    raise CommandFailed("The file changed while it was being sent. Upload it again once it is whole.")
                answer = await self.gateway.request(
                    "POST",
                    f"/sessions/{self.session}/files",
                    params={**where, **({"sha256": sha256.hexdigest()} if last else {})},
                    body=chunk,
                    headers={
                        "Content-Range": f"bytes {sent}-{stop - 1}/{begun.size}" if begun.size else "bytes */0",
                        "Content-Type": "application/octet-stream",
                        "Idempotency-Key": begun.key,
                    },
                )
                if begun.upload is None:
                    begun = begun.model_copy(update={"upload": answer["_id"]})
                    self.records.keep(begun)
                    where = {"_id": answer["_id"]}
                sent = stop
                self.progress.sent(slide.path, sent)
                if last:
                    return str(answer["image"])


def _next_byte(stored: dict[str, Any] | None, size: int) -> int:
    """Where to go on. The last chunk is sent even if it is there: its answer ends the upload."""
    ranges = stored["ranges"] if stored is not None else []
    beginning = ranges[0]["end"] + 1 if ranges and ranges[0]["start"] == 0 else 0
    whole = min(beginning, max(0, size - 1))
    return int(whole - whole % CHUNK)


def _read(source: Source, sha256: "hashlib._Hash") -> bytes:
    chunk = source.read(CHUNK)
    sha256.update(chunk)
    return chunk
