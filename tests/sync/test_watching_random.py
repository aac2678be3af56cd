"""Whatever is done to a folder, the images are in the end what lies in it. `SLIDEMILL_FOLDER_OPERATIONS` for more."""

import hashlib
import os
import random
from pathlib import Path

import pytest

from tests.sync.conftest import House
from tests.sync.watching import Watch, slide, touch

OPERATIONS = int(os.environ.get("SLIDEMILL_FOLDER_OPERATIONS", "60"))
NAMES = [f"{folder}{name}.svs" for folder in ("", "12/", "12/old/", "13/") for name in "abc"]


class Folder:
    """The model: which file has which content. Those that are written slowly get their end later."""

    def __init__(self, watch: Watch, chance: random.Random) -> None:
        self.watch = watch
        self.chance = chance
        self.content: dict[str, bytes] = {}
        self.lost: dict[str, tuple[bytes, int]] = {}
        self.slow: dict[str, bytes] = {}
        self.made = 0

    def _fresh(self) -> bytes:
        """Mostly what was never there, sometimes what lies, or lay, somewhere else too."""
        known = [*self.content.values(), *(content for content, _ in self.lost.values())]
        if known and self.chance.random() < 0.3:
            return self.chance.choice(known)
        self.made += 1
        return slide(f"{self.made}", self.chance.randrange(600, 700))

    def _put(self, path: str, content: bytes) -> None:
        self.slow.pop(path, None)
        self.content[path] = content
        self.watch.put(path, content)

    def create(self) -> None:
        self._put(self.chance.choice(NAMES), self._fresh())

    def create_slowly(self) -> None:
        path, content = self.chance.choice(NAMES), self._fresh()
        self._put(path, content[:300])
        self.slow[path] = content

    def go_on(self) -> None:
        for path, content in list(self.slow.items()):
            self._put(path, content)

    def corrupt(self) -> None:
        self.made += 1
        self._put(self.chance.choice(NAMES), f"no slide {self.made}".encode().ljust(600))

    def rename(self) -> None:
        if self.content:
            old, new = self.chance.choice(sorted(self.content)), self.chance.choice(NAMES)
            if old != new:
                (self.watch.root / new).parent.mkdir(parents=True, exist_ok=True)
                (self.watch.root / old).rename(self.watch.root / new)
                self.slow.pop(new, None)
                self.content[new] = self.content.pop(old)
                if old in self.slow:
                    self.slow[new] = self.slow.pop(old)

    def delete(self) -> None:
        if self.content:
            path = self.chance.choice(sorted(self.content))
            self.slow.pop(path, None)
            self.lost[path] = (self.content.pop(path), (self.watch.root / path).stat().st_mtime_ns)
            (self.watch.root / path).unlink()

    def restore(self) -> None:
        gone = sorted(path for path in self.lost if path not in self.content)
        if gone:
            path = self.chance.choice(gone)
            content, mtime = self.lost.pop(path)
            self._put(path, content)
            os.utime(self.watch.root / path, ns=(0, mtime))

    def touch(self) -> None:
        if self.content:
            touch(self.watch.root / self.chance.choice(sorted(self.content)))

    def chmod(self) -> None:
        if self.content:
            (self.watch.root / self.chance.choice(sorted(self.content))).chmod(self.chance.choice((0, 0o644)))

    async def is_right(self) -> None:
        """What is in the database is what lies in the folder."""
        watch, images = self.watch, await self.watch.images()
        shown = {path for path, image in images.items() if image.source_vanished is None}
        for path, content in self.content.items():
            entry = await watch.entry(path)
            assert entry is not None
            assert hashlib.sha256(content).hexdigest() == entry.sha256
            if entry.state == "duplicate":
                assert path not in shown
                assert any(content == self.content[other] for other in shown)
                continue
            assert "imported" == entry.state
            image = images[path]
            version = await watch.version(image)
            assert (image.id, None) == (entry.image, image.source_vanished)
            assert image.name == path.rpartition("/")[2]
            if content.startswith(b"II*\0"):
                assert ("ready", entry.sha256) == (version.state, version.sha256)
                assert content == await watch._ports["blobs"].read(version.file, 0, 10_000)
            else:
                assert "failed" == version.state
        assert shown <= set(self.content)
        for image in images.values():
            assert image.latest == await watch.store.versions.count({"_id.image": image.id})
        assert len(await watch.store.entries.find({"vanished": None})) == len(self.content)


@pytest.mark.parametrize("seed", range(5))
async def test_after_any_operations_the_images_are_what_lies_in_the_folder(
    house: House, tmp_path: Path, seed: int
) -> None:
    root = tmp_path / "slides"
    root.mkdir()
    watch = Watch(root, house.store, {"blobs": house.blobs, "tiles": house.tiles}, house.bus, house.clock)
    await watch.add()
    chance = random.Random(seed)
    folder = Folder(watch, chance)
    operations = [
        *(folder.create, folder.create, folder.create_slowly, folder.corrupt, folder.rename, folder.rename),
        *(folder.delete, folder.restore, folder.touch, folder.chmod, folder.go_on),
    ]

    for _ in range(OPERATIONS):
        chance.choice(operations)()
        if chance.random() < 0.5:
            assert "done" == (await watch.tick(twice=chance.random() < 0.2)).state
    folder.go_on()
    for path in folder.content:
        (root / path).chmod(0o644)
    for _ in range(4):
        await watch.tick()
    await watch.tick(seconds=25 * 3600)
    await watch.tick()

    await folder.is_right()
