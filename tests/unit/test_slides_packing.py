"""Several files of one slide as one zip that nobody has to make."""

import io
import random
import subprocess
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.slides import archive
from shared.slides.companions import Slide
from shared.slides.packing import Member, Packed, Piece, length_of, names_in_zip, pack

INDEX = b"[HIERARCHICAL]\r\nINDEXFILE = Index.dat\r\n[DATAFILE]\r\nFILE_COUNT = 1\r\nFILE_0 = Data0000.dat\r\n"
FILES = {
    "Präparat.mrxs": b"\xff\xd8\xff",
    "Präparat/Slidedat.ini": INDEX,
    "Präparat/Index.dat": b"",
    "Präparat/Data0000.dat": bytes(range(256)) * 4000,
}
GIB = 2**30


def packed(files: Mapping[str, bytes]) -> Packed:
    return pack(Member(name, len(data), zlib.crc32(data)) for name, data in files.items())


def cut(made: Packed, files: Mapping[str, bytes], start: int, stop: int) -> bytes:
    return b"".join(
        part if isinstance(part, bytes) else files[part.member][part.start : part.start + part.length]
        for part in made.within(start, stop)
    )


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    made = packed(files)
    path = folder / "slide.zip"
    path.write_bytes(cut(made, files, 0, made.length))
    assert path.stat().st_size == made.length == length_of({name: len(data) for name, data in files.items()})
    return path


def test_every_reader_takes_out_what_was_put_in(tmp_path: Path) -> None:
    path = written(tmp_path, FILES)

    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == FILES
    subprocess.run(["unzip", "-q", path, "-d", tmp_path / "out"], check=True, env={"LC_ALL": "C.UTF-8"})
    out = tmp_path / "out"
    assert {str(f.relative_to(out)): f.read_bytes() for f in out.rglob("*") if f.is_file()} == FILES
    (tmp_path / "inside").mkdir()
    with path.open("rb") as source:
        inside = archive.find(path.name, GIB, source=source)
        assert archive.unpack(str(tmp_path / "inside"), path.name, GIB, source=source)
    assert inside.main == "Präparat.mrxs"
    assert sorted(inside.members) == sorted(FILES)
    assert (tmp_path / "inside/Präparat/Data0000.dat").read_bytes() == FILES["Präparat/Data0000.dat"]


def test_nothing_in_a_zip_tells_when_or_in_which_order_it_was_made(tmp_path: Path) -> None:
    path = written(tmp_path, FILES)

    backwards = dict(reversed(FILES.items()))
    assert cut(packed(backwards), backwards, 0, 2**40) == path.read_bytes()
    with zipfile.ZipFile(path) as opened:
        assert opened.namelist() == sorted(FILES)
        assert {info.date_time for info in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_any_range_is_what_lies_there() -> None:
    made = packed(FILES)
    whole = cut(made, FILES, 0, made.length)
    rng = random.Random(7)
    ends = [(0, 0), (0, 1), (made.length - 1, made.length + 50), (made.length, made.length + 1)]
    for start, stop in ends + [sorted(rng.choices(range(made.length + 1), k=2)) for _ in range(200)]:
        assert cut(made, FILES, start, stop) == whole[start:stop]


class _Zeros(io.RawIOBase):
    """A zip whose members hold nothing but zeros, however long they are."""

    def __init__(self, made: Packed) -> None:
        self._made, self._at = made, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._made.length)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._made.length if size < 0 else self._at + size
        parts = self._made.within(self._at, stop)
        data = b"".join(bytes(part.length) if isinstance(part, Piece) else part for part in parts)
        self._at += len(data)
        return data


LARGE = [(4 * GIB - 2, 1), (4 * GIB, 1), (9 * GIB, 1), (2 * GIB, 2 * GIB, 1, 2 * GIB, 5 * GIB, 1)]


def large(lengths: tuple[int, ...]) -> tuple[Packed, list[str]]:
    """A zip of members of these lengths, all zeros, and the names of the small ones."""
    small = [f"{n}.dat" for n, length in enumerate(lengths) if length == 1]
    return pack(Member(f"{n}.dat", length, zlib.crc32(b"\0")) for n, length in enumerate(lengths)), small


@pytest.mark.parametrize("lengths", [*LARGE, (4 * GIB - 1, 1)])
def test_lengths_and_offsets_of_large_slides_are_read_by_python(lengths: tuple[int, ...]) -> None:
    made, small = large(lengths)

    with zipfile.ZipFile(_Zeros(made)) as opened:
        assert [info.file_size for info in opened.infolist()] == list(lengths)
        assert [opened.read(name) for name in small] == [b"\0"] * len(small)


@pytest.mark.parametrize("lengths", LARGE)
def test_lengths_and_offsets_of_large_slides_are_read_by_unzip(tmp_path: Path, lengths: tuple[int, ...]) -> None:
    """Not the one length of 2^32 - 1: unzip 6.0 misreads what stands behind it."""
    made, small = large(lengths)
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        for part in made.segments:
            if isinstance(part, Piece):
                file.seek(part.length, 1)
            else:
                file.write(part)

    listed = subprocess.run(["zipinfo", "-l", path], check=True, capture_output=True, text=True).stdout
    assert [int(line.split()[3]) for line in listed.splitlines() if ".dat" in line] == list(lengths)
    for name in small:
        assert subprocess.run(["unzip", "-p", path, name], check=True, capture_output=True).stdout == b"\0"


def test_more_files_than_the_short_count_holds() -> None:
    made = pack(Member(f"{n:05}.dat", 0, 0) for n in range(66_000))
    with zipfile.ZipFile(_Zeros(made)) as opened:
        assert len(opened.infolist()) == 66_000


def test_a_slide_is_packed_without_the_folder_that_it_lies_in() -> None:
    slide = Slide("case/7/x.mrxs", ("case/7/x.mrxs", "case/7/x/Slidedat.ini"), ())

    assert names_in_zip(slide) == {"case/7/x.mrxs": "x.mrxs", "case/7/x/Slidedat.ini": "x/Slidedat.ini"}


def test_a_name_that_is_no_unicode_is_not_packed() -> None:
    with pytest.raises(UnicodeEncodeError):
        pack([Member("caf\udce9.dat", 1, 0)])
