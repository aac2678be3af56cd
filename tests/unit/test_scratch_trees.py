"""Folders in the scratch folder: filled once, seen whole, evicted as copies are."""

import asyncio
import errno
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from shared.blobs.scratch import Scratch
from shared.errors import Reject, RetryLater


def filling(**files: int) -> Callable[[Path], Awaitable[None]]:
    """Fills a folder with files of so many bytes."""

    async def fill(folder: Path) -> None:
        for name, size in files.items():
            (folder / "sub").mkdir(exist_ok=True)
            (folder / "sub" / name).write_bytes(bytes(size))

    return fill


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_a_folder_is_filled_once_however_many_ask(tmp_path: Path) -> None:
    filled: list[Path] = []

    async def fill(folder: Path) -> None:
        filled.append(folder)
        (folder / "a").write_bytes(b"1")
        await asyncio.sleep(0)
        (folder / "b").write_bytes(b"2")

    async def ask() -> list[str]:
        async with Scratch(tmp_path, 1000).tree("t", 2, fill) as folder:
            return names(folder)

    assert await asyncio.gather(*(ask() for _ in range(5))) == [["a", "b"]] * 5
    assert len(filled) == 1


OTHER_PROCESS = """
import asyncio, os, sys
from pathlib import Path
from shared.blobs.scratch import Scratch

async def fill(folder):
    for n in range(20):
        (folder / str(n)).write_text(f"{os.getpid():10d}")
        await asyncio.sleep(0.005)

async def main():
    async with Scratch(Path(sys.argv[1]), 10**6).tree("t", 200, fill) as folder:
        print(*{path.read_text() for path in folder.iterdir()})

asyncio.run(main())
"""


async def test_the_processes_of_a_host_fill_a_folder_once(tmp_path: Path) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", OTHER_PROCESS, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    said = {(await process.communicate())[0].strip() for process in processes}

    assert said <= {str(process.pid).encode() for process in processes}
    assert len(said) == 1


async def refuse(folder: Path) -> None:
    (folder / "a").write_bytes(b"1")
    raise Reject("It is damaged.", "Send it again.")


async def fill_up(folder: Path) -> None:
    (folder / "a").write_bytes(b"1")
    raise OSError(errno.ENOSPC, "no space left")


@pytest.mark.parametrize(
    ("fill", "error"), [(refuse, Reject), (fill_up, RetryLater), (filling(a=1), Reject), (filling(a=3), Reject)]
)
async def test_a_folder_that_could_not_be_filled_leaves_nothing(
    tmp_path: Path, fill: Callable[[Path], Awaitable[None]], error: type[Exception]
) -> None:
    scratch = Scratch(tmp_path, 1000)

    with pytest.raises(error):
        await scratch.tree("t", 2, fill).__aenter__()
    assert names(tmp_path) == ["lock"]

    async with scratch.tree("t", 2, filling(b=2)) as folder:
        assert names(folder) == ["b"]


async def test_who_is_cancelled_while_filling_frees_the_lock(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, 1000)
    begun = asyncio.Event()

    async def endless(folder: Path) -> None:
        (folder / "a").write_bytes(b"1")
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(scratch.tree("t", 2, endless).__aenter__())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert names(tmp_path) == ["lock"]
    async with asyncio.timeout(10), scratch.tree("t", 2, filling(b=2)) as folder:
        assert names(folder) == ["b"]


async def test_who_is_cancelled_while_looking_frees_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = Scratch(tmp_path, 1000)
    looking, seen = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look(path: Path) -> None:
        loop.call_soon_threadsafe(looking.set)
        seen.wait(10)

    with monkeypatch.context() as patch:
        patch.setattr("shared.blobs.scratch._size", look)
        task = asyncio.create_task(scratch.tree("t", 2, filling(b=2)).__aenter__())
        await looking.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        seen.set()

    async with asyncio.timeout(10), scratch.tree("t", 2, filling(b=2)) as folder:
        assert names(folder) == ["b"]


async def test_what_a_crash_has_left_is_never_taken_for_whole(tmp_path: Path) -> None:
    """A part of a process that was killed, and a folder whose files lost their end with the machine's power."""
    scratch = Scratch(tmp_path, 1000)
    async with scratch.tree("t", 5, filling(a=2, b=3)) as folder:
        pass
    (folder / "sub" / "b").write_bytes(b"")
    part = folder.with_name("part-of-somebody-killed")
    part.mkdir()
    (part / "a").write_bytes(b"12")

    async with scratch.tree("t", 5, filling(a=2, b=3)) as folder:
        assert (folder / "sub" / "b").stat().st_size == 3
    assert not part.exists()


async def test_the_least_recently_used_folder_goes_and_an_open_one_stays(tmp_path: Path) -> None:
    fill = filling(a=100_000)
    scratch = Scratch(tmp_path, 250_000)

    async with scratch.tree("open", 100_000, fill) as first:
        async with scratch.tree("closed", 100_000, fill) as second:
            pass
        async with scratch.tree("new", 100_000, fill) as third:
            assert (first.exists(), second.exists(), third.exists()) == (True, False, True)


async def test_what_the_disk_has_no_room_for_is_not_begun_and_nothing_goes_for_it(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, 2**63)
    async with scratch.tree("small", 1, filling(a=1)) as small:
        pass

    with pytest.raises(RetryLater, match="full"):
        await scratch.tree("t", 2**60, refuse).__aenter__()
    assert small.exists()
