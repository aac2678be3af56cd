"""How the end is checked: nothing lost, nothing twice, nothing left over, every tile as in an undisturbed run.

The words are those of Jepsen's total-queue checker: lost (acknowledged but not there), unexpected (there but never
sent, or with other tiles or another end than the undisturbed run), duplicated (there twice), recovered (never
acknowledged but there).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field

from shared.bus.letters import Letter
from shared.bus.rabbit import RabbitBus, RabbitDeadLetters
from shared.mongo import connect
from shared.store import In
from shared.store.documents.versions import VersionId
from shared.store.mongo import MongoStore
from shared.tiles.keys import split_key, version_range
from shared.tiles.mongo import MongoTiles

DATABASE = "slidemill"
STAGES = ("dicer", "pyramid", "sync")


@dataclass
class Ends:
    """What the database holds: for each name its image ids, and for each image its end and the digest of its tiles."""

    images: dict[str, list[str]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    leftovers: dict[str, int] = field(default_factory=dict)
    dead: list[Letter] = field(default_factory=list)


async def look(mongodb: str, amqp: str) -> Ends:
    """Reads everything there is to check, straight from database and broker."""
    client = connect(mongodb)
    store, tiles = MongoStore(client, DATABASE), MongoTiles(client, DATABASE)
    ends = Ends()
    known = set()
    stray: Counter[str] = Counter()
    async for image in store.images.each({}):
        ends.images.setdefault(image.name, []).append(image.id)
        version = await store.versions.get(VersionId(image=image.id, n=image.latest))
        if version is None:
            ends.states[image.id] = "without a version"
            continue
        known.add(image.id)
        ends.states[image.id] = version.state
        if version.state == "ready":
            # A failed one keeps them, to go on from where it failed.
            blocks = await store.blocks.count({"_id.image": image.id, "_id.version": image.latest})
            stray["blocks of ready images"] += blocks
        ends.reasons[image.id] = version.failure.reason if version.failure else ""
        digest = hashlib.sha256()
        async for tile in tiles.scan(version_range(image.id, image.latest)):
            digest.update(tile.key[16:] + hashlib.sha256(tile.data).digest())
        ends.digests[image.id] = digest.hexdigest()
    database = client[DATABASE]
    async for found in database["tiles"].find({}, {"_id": 1}):
        if split_key(found["_id"])[0] not in known:
            stray["tiles without an image"] += 1
    owned = {found["_id"] async for found in database["fs.files"].find({}, {"_id": 1})}
    used = set(await database["versions"].distinct("file"))
    stray["files without an image"] = len(owned - used)
    stray["uploads without an end"] = await store.uploads.count({"state": In(("receiving", "verifying"))})
    async for picture in database["thumbnails"].find({}, {"_id": 1}):
        stray["pictures without an image"] += picture["_id"].partition(":")[0] not in known
    for file in await database["fs.chunks"].distinct("files_id"):
        if file not in owned:
            stray["chunks without a file"] += 1
    bus = RabbitBus(amqp, "slidemill")
    await bus.connect()
    try:
        for stage in STAGES:
            stray[f"messages waiting in {stage}"] = await bus.depth(stage)
            ends.dead += [held.letter async for held in RabbitDeadLetters(amqp, "slidemill", bus).each(stage)]
    finally:
        await bus.close()
    ends.leftovers = {what: count for what, count in stray.items() if count}
    client.close()
    return ends


@dataclass
class Verdict:
    """Counts over all images that were sent, with a line for each that is not as it should be."""

    attempted: int = 0
    acknowledged: int = 0
    lost: int = 0
    unexpected: int = 0
    duplicated: int = 0
    recovered: int = 0
    complaints: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled, unexpected or left over."""
        return not self.complaints


def judge(
    sent: list[str],
    acknowledged: set[str],
    clean: dict[str, tuple[str, str]],
    kind_of: Callable[[str], str],
    ends: Ends,
    poison: Set[bytes] = frozenset(),
) -> Verdict:
    """Compares what is there with what was sent; `clean` gives each kind's undisturbed (state, tile digest).

    `poison` are the messages that must be among the dead letters. Others may be there only about files that are
    refused with nothing broken, too.
    """
    verdict = Verdict(attempted=len(sent), acknowledged=len(acknowledged))
    for name in sent:
        ids = ends.images.get(name, [])
        if name not in acknowledged:
            verdict.complaints.append(f"given up: {name}, though the gateway was never away for five minutes")
        if not ids:
            if name in acknowledged:
                verdict.lost += 1
                verdict.complaints.append(f"lost: {name} was acknowledged and is not there")
            continue
        if name not in acknowledged:
            verdict.recovered += 1
        if len(ids) > 1:
            verdict.duplicated += 1
            verdict.complaints.append(f"duplicated: {name} is there {len(ids)} times")
        for id in ids:
            found = (ends.states[id], ends.digests[id])
            if found != clean[kind_of(name)]:
                verdict.unexpected += 1
                verdict.complaints.append(f"unexpected: {name} ({id}) ended {found[0]}: {ends.reasons[id]}")
    refused = {
        id
        for name, ids in ends.images.items()
        if clean.get(name if name in clean else kind_of(name), ("", ""))[0] == "failed"
        for id in ids
    }
    buried = {letter.body for letter in ends.dead}
    verdict.complaints += [f"lost: the poison {body[:40]!r} is no dead letter" for body in poison - buried]
    verdict.complaints += [
        f"unexpected: {letter.type} about {letter.image} died in {letter.stage}: {letter.cause}: {letter.detail[:200]}"
        for letter in ends.dead
        if letter.body not in poison and not (letter.cause == "reject" and letter.image in refused)
    ]
    verdict.complaints.extend(f"left over: {count} {what}" for what, count in ends.leftovers.items())
    return verdict
