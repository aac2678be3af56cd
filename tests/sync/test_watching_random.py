"""Whatever is done to a folder, the images are in the end what lies in it. `SLIDEMILL_FOLDER_OPERATIONS` for more."""

import hashlib
import io
import os
import random
import zipfile
from pathlib import Path

import pytest

from tests.sync.conftest import House
from tests.sync.watching import Watch, mirax, slide, touch

OPERATIONS = int(os.environ.get("SLIDEMILL_FOLDER_OPERATIONS", "60"))
NAMES = [f"{folder}{name}.svs" for folder in ("", "12/", "12/old/", "13/") for name in "abc"]
UNITS = ["20/u.mrxs", "21/u.mrxs", "22/u.mrxs"]


class Folder:
    """The model: which file has which content. Those that are written slowly get their end later."""

    def __init__(self, watch: Watch, chance: random.Random) -> None:
        self.watch = watch
        self.chance = chance
        self.content: dict[str, bytes] = {}
        self.lost: dict[str, tuple[bytes, int]] = {}
        self.slow: dict[str, bytes] = {}
        # By the file that the slide goes by: every file of it by path, and those that come later.
        self.units: dict[str, dict[str, bytes]] = {}
        self.late: dict[str, dict[str, bytes]] = {}
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
        for main, files in list(self.late.items()):
            self._put_unit(main, files)
            del self.late[main]

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

    def _put_unit(self, main: str, files: dict[str, bytes]) -> None:
        for path, content in files.items():
            self.watch.put(path, content)
        self.units.setdefault(main, {}).update(files)

    def _remove_unit(self, main: str) -> None:
        self.late.pop(main, None)
        for path in self.units.pop(main, {}):
            (self.watch.root / path).unlink()

    def create_unit(self) -> None:
        """In any order of its files, some of them later."""
        main = self.chance.choice(UNITS)
        self._remove_unit(main)
        self.made += 1
        files = list(mirax(main, f"{self.made}", self.chance.randrange(1, 4)).items())
        self.chance.shuffle(files)
        now = self.chance.randrange(1, len(files) + 1)
        self._put_unit(main, dict(files[:now]))
        self.late[main] = dict(files[now:])

    def replace_member(self) -> None:
        if self.units:
            main = self.chance.choice(sorted(self.units))
            self.made += 1
            data = [path for path in sorted(self.units[main]) if "Data" in path]
            if data:
                self._put_unit(main, {self.chance.choice(data): slide(f"{self.made}")})

    def delete_member(self) -> None:
        there = sorted(main for main, files in self.units.items() if files)
        if there:
            main = self.chance.choice(there)
            path = self.chance.choice(sorted(self.units[main]))
            self.late.setdefault(main, {})[path] = self.units[main].pop(path)
            (self.watch.root / path).unlink()

    def delete_unit(self) -> None:
        if self.units:
            self._remove_unit(self.chance.choice(sorted(self.units)))

    def move_unit(self) -> None:
        free = [main for main in UNITS if main not in self.units]
        if self.units and free:
            main, place = self.chance.choice(sorted(self.units)), self.chance.choice(free)

            def moved(path: str) -> str:
                return place.rpartition("/")[0] + "/" + path.split("/", 1)[1]

            for path in self.units[main]:
                (self.watch.root / moved(path)).parent.mkdir(parents=True, exist_ok=True)
                (self.watch.root / path).rename(self.watch.root / moved(path))
            self.units[place] = {moved(path): data for path, data in self.units.pop(main).items()}
            if main in self.late:
                self.late[place] = {moved(path): data for path, data in self.late.pop(main).items()}

    async def units_are_right(self) -> set[str]:
        """As `is_right`; returns the paths of those that are entries."""
        watch, images = self.watch, await self.watch.images()
        for main, files in self.units.items():
            entry = await watch.entry(main)
            if main not in files:
                assert entry is None or entry.vanished is not None
                continue
            assert entry is not None
            if self.late.get(main):
                assert ("waiting", "incomplete") == (entry.state, entry.reason)
                continue
            assert "imported" == entry.state
            image = images[main]
            version = await watch.version(image)
            assert (image.id, None, "ready") == (entry.image, image.source_vanished, version.state)
            data = await watch._ports["blobs"].read(version.file, 0, 10**6)
            before = main.rpartition("/")[0] + "/"
            with zipfile.ZipFile(io.BytesIO(data)) as opened:
                assert files == {before + name: opened.read(name) for name in opened.namelist()}
        return {main for main, files in self.units.items() if main in files}

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
                assert any(content == self.content.get(other) for other in shown)
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
        units = await self.units_are_right()
        assert shown <= set(self.content) | units
        for image in images.values():
            assert image.latest == await watch.store.versions.count({"_id.image": image.id})
        assert len(await watch.store.entries.find({"vanished": None})) == len(self.content) + len(units)


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
        *(folder.create_unit, folder.replace_member, folder.delete_member, folder.move_unit, folder.delete_unit),
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
    folder.delete_member()
    await watch.tick()
    await folder.is_right()
