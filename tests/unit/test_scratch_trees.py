"""Folders in the scratch folder: filled once, seen whole, evicted as copies are."""

import asyncio
from pathlib import Path

import pytest

from shared.blobs.scratch import Scratch
from shared.errors import Reject


async def test_a_folder_is_filled_once_however_many_ask(tmp_path: Path) -> None:
    filled: list[Path] = []

    def fill(folder: Path) -> None:
        filled.append(folder)
        (folder / "a").write_bytes(b"1")
        (folder / "b").write_bytes(b"2")

    async def ask() -> list[str]:
        async with Scratch(tmp_path, 1000).tree("t", 2, fill) as folder:
            return sorted(path.name for path in folder.iterdir())

    assert await asyncio.gather(*(ask() for _ in range(5))) == [["a", "b"]] * 5
    assert len(filled) == 1


async def test_a_folder_that_could_not_be_filled_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "a").write_bytes(b"1")
        raise Reject("It is damaged.", "Send it again.")

    def fill(folder: Path) -> None:
        (folder / "b").write_bytes(b"2")

    scratch = Scratch(tmp_path, 1000)
    with pytest.raises(Reject):
        async with scratch.tree("t", 2, fail):
            pass
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["lock"]
    async with scratch.tree("t", 2, fill) as folder:
        assert [path.name for path in folder.iterdir()] == ["b"]


async def test_the_least_recently_used_folder_goes_and_an_open_one_stays(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_bytes(bytes(100_000))

    scratch = Scratch(tmp_path, 250_000)
    async with scratch.tree("open", 100_000, fill) as first:
        async with scratch.tree("closed", 100_000, fill) as second:
            pass
        async with scratch.tree("new", 100_000, fill) as third:
            assert (first.exists(), second.exists(), third.exists()) == (True, False, True)
