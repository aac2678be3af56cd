"""Zips by Deflate64, as Windows packs what is large: read as others read them, and as bounded as any."""

import base64
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shared.errors import Reject
from shared.slides.archive import Inside, find, unpack
from shared.slides.deflate64 import METHOD, Inflated
from tests.slides.zips import deflated64, write_deflate64

PNG = b"\x89PNG\r\n\x1a\n"
# What p7zip 16.02 makes by `7z a -tzip -mm=Deflate64` of a line 1000 times and another one 3000 times.
BY_7ZIP = (
    "P)h>@6#xJL2>`sUd0m9P{4Syc006*I0ssX70046?ba-^+%C!~3PyhhHo+*A$gUcQ)fF#7-V0z}@-PLzXqR@`%GY^lho~sboOUTBu"
    "=|eq5T}X#;FNzhv_{A@N@rz&l;upX8#V>yGi(mZW7r*$$FMjchU;N@1zxc&3e({T6{NfkC_{A@N@rz&l;upX8#V>yGi(mZW7r*$$"
    "FMjchU;N@1zxc&3e({T6{NfkC_{A@N@rz&l;upX8#V>yGi(mZW7r*$$FMjchU;N@1zxc&3e({T6{NfkC_{A@N@rz&l;upX8#V>yG"
    "i(mZW7r*$$FMjchU;N@1zxc&3e({T6{NfkC_{A@N@rz&l;upX8#V>yGi(mZW7r*$$uRmS)$MY4%?<CFgqO9ts?fPMy=H>I<Y<K&^"
    "@pQgi*Zkrazxc&3e({T6{NfkC_{A@N@rz&l;upX8#V>yGi(mZW7r*$$FMjchU;N@1zxc&3e({T6{NfkC_{A@N@rz&l;upX8#V>yG"
    "i(mZW7r*$$FMjchU;N@1zxc&3e({T6{NfkC_{A@N@rz&l;upX8#V>yGi(mZW*N<E|Bme*a008p;wIO8v>Q}$|)vtc_t6%-<SHJqz"
    "uYUEbU;XM=zxvg$e)X$g{pwf0`qi&~^{Zd~>Q}$|)vtc_t6%-<SHJqzuYUEbU;XM=zxvg$e)X$g{pwf0`qi&~^{Zd~>Q}$|)vtc_"
    "t6%-<SHJqzuYUEbU;XM=zxvg$e)X$g{pwf0`qi&~^{Zd~>Q}$|)vtc_t6%-<SHJqzuYUEbU;XM=zxvg$e)X$g{pwf0`qi&~^{Zd~"
    ">Q}$|)vtc_t6%-<SHJqzuYUEbU;XM=zxvg$e)X$g{pwf0`qi&~^{Zd~>Q}$|)vtc_t6%-<SHJqzuYUEbU;XM=zxvg$e)X$g{pwf0"
    "`qi&~^{Zd~>Q}$|)vtc_t6%-<SHJqzuYUEbU;XM=zxvg$e)X$g{pwf0`qi&~^{Zd~>Q}$|)vtc_t6%-<SHJqzuYM_44haAN000F2"
    "f9(qkWcbA|e({T6{NfkC_{A@N@rz&l;upX8#V>yGi(mZW7r*$$FMjchU;N@1zxc&3e({T6{NfkC_{A@N@rz&l;upX8#V>yGi(mZW"
    "7r*$$FMjchU;N@1zxc&3e({T6{NfkC_{A@N@rz&l;upX8#V>yGi(mZW7r*$$FMjchU;N@1zxc&3e({T6{NfkC_{A@N@rz&l;upX8"
    "#V>x{D^N=T0zU&4000090KBbvU4*^-E}{bf0KicK00jUf000000000WfTV!{0001UE_8Tw3IHGg000000RR{P8HaRPCVkxj00000"
    "000000000000000P)h{{000000RRC2R{#J2#RC8U000"
)


def content(seed: int, length: int) -> bytes:
    """Runs, repeats from far behind, and noise."""
    rng = random.Random(seed)
    data = bytearray(PNG)
    while len(data) < length:
        kind, size = rng.randrange(3), rng.randrange(1, 90_000)
        if kind == 0:
            data += bytes(size)
        elif kind == 1:
            at = rng.randrange(max(1, len(data) - 65_000), len(data) + 1)
            data += data[at : at + size]
        else:
            data += rng.randbytes(size)
    return bytes(data[:length])


def opened(path: Path, budget: int = 2**30) -> Inside:
    (path.parent / "unpacked").mkdir()
    with path.open("rb") as source:
        inside = find(path.name, budget, source=source)
        assert unpack(str(path.parent / "unpacked"), path.name, budget, source=source)
    return inside


def refused(path: Path, budget: int = 2**30) -> Reject:
    with pytest.raises(Reject) as caught:
        opened(path, budget)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("length", [9, 511, 5000, 3_000_000])
def test_a_slide_is_unpacked_as_unzip_does(tmp_path: Path, length: int) -> None:
    files = {"s/s.png": content(length, length), "s/notes.txt": b"note"}
    path = write_deflate64(tmp_path / "s.zip", files)

    inside = opened(path)

    out = subprocess.run(["unzip", "-p", path, "s/s.png"], check=True, capture_output=True).stdout
    assert (inside.main, inside.length, inside.stored) == ("s/s.png", length, {})
    assert (tmp_path / "unpacked/s/s.png").read_bytes() == out == files["s/s.png"]


def test_what_7zip_packs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    path.write_bytes(base64.b85decode(BY_7ZIP))

    with zipfile.ZipFile(path) as archive, Inflated(archive, archive.infolist()[0]) as source:
        data = source.read(10**6)

    assert archive.infolist()[0].compress_type == METHOD
    assert data == b"The quick brown fox jumps over it all\n" * 1000 + b"abcdefghijklmnopqrstuvwxyz0123456789+\n" * 3000


@pytest.mark.parametrize("size", [1, 100, 4096, 10**7])
def test_any_size_may_be_read(tmp_path: Path, size: int) -> None:
    data = content(3, 20_000)
    path = write_deflate64(tmp_path / "s.zip", {"s.png": data})

    with zipfile.ZipFile(path) as archive, Inflated(archive, archive.infolist()[0]) as source:
        pieces = list(iter(lambda: source.read(size), b""))

    assert b"".join(pieces) == data
    assert {len(piece) for piece in pieces[:-1]} <= {size}


@pytest.mark.parametrize(
    ("real", "said"),
    [
        (lambda data: data + b"more", "is longer than its directory says"),
        (lambda data: data[:-1], "is not what its directory says"),
        (lambda data: data[:-1] + b"\x07", "is not what its directory says"),
        (lambda data: data + bytes(2**24), "is longer than its directory says"),
    ],
    ids=["longer", "shorter", "other", "bomb"],
)
def test_what_is_not_as_its_directory_says_is_refused(tmp_path: Path, real, said: str) -> None:  # type: ignore[no-untyped-def]
    data = content(1, 100_000)
    path = write_deflate64(tmp_path / "s.zip", {"s.png": data}, {"s.png": deflated64(real(data))})

    assert said in refused(path).heard
    assert sum(p.stat().st_size for p in (tmp_path / "unpacked").rglob("*")) <= len(data)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.999])
def test_packed_data_that_end_too_early_are_refused(tmp_path: Path, keep: float) -> None:
    packed = deflated64(content(1, 100_000))
    cut = packed[: max(1, int(len(packed) * keep))]
    path = write_deflate64(tmp_path / "s.zip", {"s.png": content(1, 100_000)}, {"s.png": cut})

    assert "ends before its data do" in refused(path).heard


def test_noise_and_flipped_bits_are_a_sentence_or_harmless(tmp_path: Path) -> None:
    data, rng = content(4, 4000), random.Random(5)
    packed = deflated64(data)
    for n in range(200):
        broken = bytearray(packed if n % 4 else rng.randbytes(3000))
        broken[rng.randrange(min(len(broken), 300))] ^= 1 << rng.randrange(8)
        folder = tmp_path / str(n)
        folder.mkdir()
        path = write_deflate64(folder / "s.zip", {"s.png": data}, {"s.png": bytes(broken)})
        try:
            opened(path)
        except Reject:
            continue
        assert (folder / "unpacked/s.png").read_bytes() == data


def test_a_bomb_is_refused_by_its_ratio_before_it_is_read(tmp_path: Path) -> None:
    path = write_deflate64(tmp_path / "s.zip", {"s.png": PNG + bytes(70 * 2**20)})

    assert "over 200 times as large" in refused(path).reason


def test_a_total_over_the_budget_is_refused(tmp_path: Path) -> None:
    path = write_deflate64(tmp_path / "s.zip", {"s.png": content(1, 100_000)})

    assert "more than the 99,999 bytes" in refused(path, 99_999).reason


# Not by getrusage, which counts what the process had before it became this program.
_READ_ALL = """
import sys, zipfile
from pathlib import Path
from shared.slides.deflate64 import Inflated

def most():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

with zipfile.ZipFile(sys.argv[1]) as archive, Inflated(archive, archive.infolist()[0]) as source:
    before = most()
    while source.read(2**20):
        pass
print(most() - before)
"""


@pytest.mark.parametrize("kind", ["noise", "zeros"])
def test_memory_does_not_grow_with_what_is_unpacked(tmp_path: Path, kind: str) -> None:
    """Neither with what was packed nor with what comes of it: 120 MiB of either."""
    data = random.Random(1).randbytes(120 * 2**20) if kind == "noise" else bytes(120 * 2**20)
    path = write_deflate64(tmp_path / "s.zip", {"s.dat": data})

    done = subprocess.run([sys.executable, "-c", _READ_ALL, path], check=True, capture_output=True, text=True)

    assert int(done.stdout) < 64 * 2**10


@pytest.mark.parametrize(
    ("method", "said"), [(12, "bzip2"), (14, "LZMA"), (93, "Zstandard"), (98, "PPMd"), (42, "method 42")]
)
def test_other_methods_are_named_with_what_to_do(tmp_path: Path, method: int, said: str) -> None:
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("s.png", PNG)
    data = bytearray(path.read_bytes())
    for at in (8, data.rfind(b"PK\x01\x02") + 10):
        data[at : at + 2] = method.to_bytes(2, "little")
    path.write_bytes(data)

    with path.open("rb") as source, pytest.raises(Reject) as caught:
        find("s.zip", 2**30, source=source)
    assert caught.value.reason == (
        f"The zip s.zip holds 's.png', which is packed by {said}, not by Deflate or Deflate64 as slidemill unpacks."
    )
    assert "zip them without compression" in caught.value.remedy
