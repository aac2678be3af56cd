"""Zips that hold one slide: what is unpacked, and a sentence for everything else."""

import io
import stat
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from shared.errors import Reject
from shared.slides import zip_entries
from shared.slides.archive import Inside, find, unpack
from shared.slides.part import Part

PNG = b"\x89PNG\r\n\x1a\n" + bytes(600)
SLIDEDAT = b"[HIERARCHICAL]\r\nINDEXFILE = Index.dat\r\n[DATAFILE]\r\nFILE_COUNT = 1\r\nFILE_0 = Data0000.dat\r\n"
MIRAX = {"a/s.mrxs": b"\xff\xd8\xff", "a/s/Slidedat.ini": SLIDEDAT, "a/s/Index.dat": b"i", "a/s/Data0000.dat": b"d"}


def dicom(series: bytes, kind: bytes = b"1.2.840.10008.5.1.4.1.1.77.1.6") -> bytes:
    """A file's head up to its series; a part of a slide unless told otherwise."""
    values = [(0x02, 0x10, b"1.2.840.10008.1.2.1"), (0x08, 0x16, kind), (0x20, 0x0E, series)]
    even = [(group, element, value + b"\0" * (len(value) % 2)) for group, element, value in values]
    coded = (struct.pack("<HH2sH", group, element, b"UI", len(value)) + value for group, element, value in even)
    return bytes(128) + b"DICM" + b"".join(coded)


REPORT = dicom(b"1.3", b"1.2.840.10008.5.1.4.1.1.88.11")
DISC = bytes(128) + b"DICM" + bytes(64)
VMS = {"s.vms": b"[V]\nImageFile=s.jpg\nMapFile=m.jpg\n", "s.jpg": b"\xff\xd8\xff", "m.jpg": b"\xff\xd8\xff"}
LITTER = {
    "a/Thumbs.db": b"t",
    "THUMBS.DB": b"t",
    ".DS_Store": b"s",
    "@eaDir/s.png": PNG,
    "._s.vms": b"m",
    "a/._s.mrxs": b"m",
}
PHOTOGRAPHS = {"overview.jpg": b"\xff\xd8\xff", "a/label.png": PNG, "preview.webp": b"RIFF....WEBP"}


def zipped(folder: Path, files: dict[str, bytes], **changes: int) -> Path:
    """A zip of the files, each entry's record changed as told."""
    path = folder / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for field, value in changes.items():
                setattr(info, field, value)
            made.writestr(info, data)
    return path


def opened(path: Path, budget: int = 2**30) -> Inside:
    folder = path.with_name("unpacked")
    folder.mkdir()
    with path.open("rb") as source:
        inside = find("s.zip", budget, source=source)
        assert unpack(str(folder), "s.zip", budget, source=source)
    return inside


def refused(path: Path, budget: int = 2**30) -> str:
    with pytest.raises(Reject) as caught:
        opened(path, budget)
    assert caught.value.remedy
    return caught.value.reason


@pytest.mark.parametrize(
    ("files", "main"),
    [
        (MIRAX, "a/s.mrxs"),
        (VMS, "s.vms"),
        ({"d/2.dcm": dicom(b"1.2"), "d/1.dcm": dicom(b"1.2")}, "d/1.dcm"),
        ({"s.png": PNG}, "s.png"),
    ],
)
def test_one_slide_is_unpacked_whole_and_nothing_beside_it(tmp_path: Path, files: dict[str, bytes], main: str) -> None:
    beside = {"notes.txt": b"note", "__MACOSX/._s.png": PNG, "d/report.dcm": REPORT, "DICOMDIR": DISC} | LITTER
    inside = opened(zipped(tmp_path, files | beside))

    there = {str(p.relative_to(tmp_path / "unpacked")): p for p in (tmp_path / "unpacked").rglob("*") if p.is_file()}
    assert (inside.main, inside.members) == (main, tuple(sorted(files)))
    assert inside.length == sum(map(len, files.values()))
    assert {name: path.read_bytes() for name, path in there.items()} == files


@pytest.mark.parametrize(
    ("files", "main"),
    [
        (MIRAX, "a/s.mrxs"),
        (VMS, "s.vms"),
        ({"d/2.dcm": dicom(b"1.2"), "d/1.dcm": dicom(b"1.2")}, "d/1.dcm"),
        ({"s.svs": b"II*\0" + bytes(600)}, "s.svs"),
        ({"s.czi": b"ZISRAWFILE" + bytes(600)}, "s.czi"),
    ],
)
def test_a_picture_beside_a_slide_is_no_second_slide(tmp_path: Path, files: dict[str, bytes], main: str) -> None:
    inside = opened(zipped(tmp_path, files | PHOTOGRAPHS | {"report.pdf": b"%PDF-1.4"}))

    assert (inside.main, inside.members) == (main, tuple(sorted(files)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../s.png", "leads out"),
        ("a/../s.png", "leads out"),
        ("a//s.png", "leads out"),
        ("/s.png", "absolute"),
        ("c:/s.png", "absolute"),
        ("a\\s.png", "character"),
        ("a\ns.png", "character"),
        ("n" * 256 + ".png", "too long"),
        ("a/" * 17 + "s.png", "more than 16 folders deep"),
    ],
)
def test_names_that_no_slide_has_are_refused(tmp_path: Path, name: str, said: str) -> None:
    assert said in refused(zipped(tmp_path, {name: PNG}))
    assert not any((tmp_path / "unpacked").iterdir())


def test_an_empty_zip_holds_no_slide(tmp_path: Path) -> None:
    data = zipped(tmp_path, {}).read_bytes()
    with pytest.raises(Reject) as caught:
        # As the decoder reads it, out of the file store.
        find("s.zip", 2**30, source=cast(BinaryIO, Part(io.BytesIO(data), 0, len(data))))
    assert caught.value.reason == "The zip s.zip holds no slide: there is nothing in it."


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    assert "link or a device" in refused(zipped(tmp_path, {"s.png": PNG}, external_attr=(kind | 0o644) << 16))


def test_encrypted_entries_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"s.png": PNG})
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted" in refused(path)


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_entries, "RATIO_FREE_BYTES", 1000)
    assert "times as large" in refused(zipped(tmp_path, {"s.png": PNG + bytes(10**6)}))


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"s.png": PNG + bytes(10**6)})
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02") + 24
    data[at : at + 4] = (700).to_bytes(4, "little")
    path.write_bytes(data)
    assert "s.zip" in refused(path, 10_000)
    assert sum(p.stat().st_size for p in (tmp_path / "unpacked").rglob("*")) <= 10_000


def test_a_total_over_the_budget_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    assert "more than the 500 bytes" in refused(zipped(tmp_path, {"s.png": PNG}), 500)
    assert not any((tmp_path / "unpacked").iterdir())


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_entries, "MOST_ENTRIES", 2)
    assert "more than the 2 files" in refused(zipped(tmp_path, {"a": b"", "b": b"", "c": b""}))


def test_a_directory_whose_size_is_claimed_in_a_record_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_entries, "MOST_ENTRIES", 2)
    data = zipped(tmp_path, {f"{n}.png": b"x" for n in range(3)}).read_bytes()
    at = data.rfind(b"PK\x05\x06")
    # Behind the directory, where the record would be that may count more entries.
    record = struct.pack("<4sQ2H2L4Q", b"none", 44, 45, 45, 0, 0, 1, 1, 46, 0)
    data = data[:at] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1) + data[at:]

    with pytest.raises(Reject, match="more than the 2 files"):
        zip_entries.check_directory(io.BytesIO(data), "slide.zip")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"s.png": PNG, "S.PNG": PNG}, "twice"),
        ({"s.png": PNG, "s.png/t.png": PNG}, "both as a file and as a folder"),
        ({"s.png": PNG, "t.png": PNG}, "holds 2 slides, such as s.png and t.png"),
        ({"a.dcm": dicom(b"1.21"), "b.dcm": dicom(b"1.22")}, "holds 2 slides"),
        (MIRAX | VMS | PHOTOGRAPHS, "holds 2 slides, such as a/s.mrxs and s.vms"),
        (VMS | {"b.svs": b"II*\0" + bytes(600)}, "holds 2 slides, such as b.svs and s.vms"),
        ({"s.mrxs": b"\xff\xd8\xff"} | PHOTOGRAPHS, "s.mrxs lacks s/Slidedat.ini"),
        ({n: data for n, data in (VMS | PHOTOGRAPHS).items() if n != "s.jpg"}, "s.vms lacks s.jpg"),
        ({n: data for n, data in (MIRAX | PHOTOGRAPHS).items() if n != "a/s.mrxs"}, "without the slide's .mrxs file"),
        ({"notes.txt": b"n"}, "holds no slide: there is notes.txt"),
        ({}, "there is nothing"),
        ({"inner.zip": b"PK\x03\x04" + bytes(600)}, "holds no slide: there is inner.zip"),
        ({name: data for name, data in MIRAX.items() if "Data" not in name}, "a/s.mrxs lacks a/s/Data0000.dat"),
    ],
)
def test_what_is_not_exactly_one_whole_slide_is_named(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    assert said in refused(zipped(tmp_path, files))


@pytest.mark.parametrize("line", [b"FILE_1=../../other/data", b"FILE_1 = sub/../../x", b"x=1\x0b[Y]\nFILE_1=../data"])
def test_an_index_that_points_out_of_the_folder_is_refused(tmp_path: Path, line: bytes) -> None:
    files = MIRAX | {"a/s/Slidedat.ini": SLIDEDAT + line + b"\r\n"}
    assert "outside of the slide's folder" in refused(zipped(tmp_path, files))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_zip_that_was_cut_short_is_said_to_be(tmp_path: Path, keep: float) -> None:
    path = zipped(tmp_path, MIRAX)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    assert "s.zip" in refused(path)


def test_every_flipped_byte_is_a_sentence_or_harmless(tmp_path: Path) -> None:
    whole = zipped(tmp_path, {"s.png": PNG}).read_bytes()
    for at in range(len(whole)):
        path = tmp_path / str(at)
        path.mkdir()
        (path / "s.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            inside = opened(path / "s.zip")
        except Reject:
            continue
        assert (path / "unpacked" / inside.main).read_bytes() == PNG


def test_damaged_data_are_found_by_their_checksum(tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("s.png", PNG)
    data = bytearray(made.getvalue())
    data[data.index(PNG) + 590] ^= 1
    (tmp_path / "s.zip").write_bytes(data)
    assert "is damaged" in refused(tmp_path / "s.zip")
