"""Which slides `./slidemill upload` finds in what it is given."""

from pathlib import Path

import pydicom
import pytest

from services.ops.errors import CommandFailed
from services.ops.gathering import Gathered, gather
from tests.slides.dicom import write_dicom

SLIDEDAT = "[HIERARCHICAL]\r\nINDEXFILE = Index.dat\r\n[DATAFILE]\r\nFILE_COUNT = 1\r\nFILE_0 = Data0000.dat\r\n"
VMS = "[Virtual Microscope Specimen]\nImageFile=b.jpg\nMapFile=m.jpg\n"


def put(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def found(gathered: Gathered) -> dict[str, list[str]]:
    return {slide.path.name: sorted(slide.members) for slide in gathered.slides}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    mirax = {"a.mrxs": "p", "a/Slidedat.ini": SLIDEDAT, "a/Index.dat": "i", "a/Data0000.dat": "d", "a/.cache": "c"}
    hamamatsu = {"b.vms": VMS, "b.jpg": "j", "m.jpg": "m", "c.jpg": "lone", "other.vms": VMS.replace("b.jpg", "c.jpg")}
    return put(tmp_path / "scans", {**mirax, **{f"v/{name}": text for name, text in hamamatsu.items()}})


MIRAX_FILES = ["a.mrxs", "a/Data0000.dat", "a/Index.dat", "a/Slidedat.ini"]


def test_a_folder_gives_each_slide_once(scans: Path) -> None:
    (scans / "v" / "other.vms").unlink()
    put(scans, {"Thumbs.db": "t", "v/desktop.ini": "d", "__MACOSX/v/b.vms": "m", "v/@eaDir/c.jpg/thumb.jpg": "j"})

    gathered = gather([scans])

    assert found(gathered) == {"a.mrxs": MIRAX_FILES, "b.vms": ["b.jpg", "b.vms", "m.jpg"], "c.jpg": []}
    assert gathered.refusals == []


@pytest.mark.parametrize(
    ("named", "files"),
    [
        ("a.mrxs", {"a.mrxs": MIRAX_FILES}),
        ("v/b.vms", {"b.vms": ["b.jpg", "b.vms", "m.jpg"]}),
        ("v/b.jpg", {"b.jpg": []}),
    ],
)
def test_companions_come_along_unnamed_and_nothing_else_does(
    scans: Path, named: str, files: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scans)

    assert found(gather([Path(named)])) == files
    assert found(gather([Path(named), scans / named])) == files


def test_what_a_shell_makes_of_a_star_is_the_same_slides(scans: Path) -> None:
    assert found(gather(sorted(scans.iterdir()))) == found(gather([scans]))


def test_a_file_beside_that_another_slide_needs_is_sent_where_it_is_named(scans: Path) -> None:
    assert found(gather([scans / "v" / "b.vms", scans / "v" / "c.jpg"])) == {
        "b.vms": ["b.jpg", "b.vms", "m.jpg"],
        "c.jpg": [],
    }


def test_a_slide_that_lacks_a_file_is_told_and_the_others_go(scans: Path) -> None:
    (scans / "a" / "Data0000.dat").unlink()

    gathered = gather([scans / "a.mrxs", scans / "v"])

    assert found(gathered)["b.vms"] == ["b.jpg", "b.vms", "m.jpg"]
    assert "a.mrxs" not in found(gathered)
    assert gathered.refusals == [
        "a.mrxs lacks a/Data0000.dat. Copy the slide from the scanner again, with every file that belongs to it."
    ]


def test_a_dicom_series_is_one_slide_in_one_folder(tmp_path: Path) -> None:
    for name in ("p/2.dcm", "p/1.dcm", "q/3.dcm", "p/other.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_dicom(tmp_path / name, 300, 200)
        if name != "p/other.dcm":
            level = pydicom.dcmread(tmp_path / name)
            level.SeriesInstanceUID = "1.2.3"
            level.save_as(tmp_path / name, enforce_file_format=True)

    assert found(gather([tmp_path])) == {"1.dcm": ["1.dcm", "2.dcm"], "other.dcm": [], "3.dcm": []}
    assert found(gather([tmp_path / "p" / "1.dcm"])) == {"1.dcm": []}


def test_a_name_that_no_zip_can_hold_is_told(scans: Path) -> None:
    (scans / "a" / "caf\udce9.dat").write_bytes(b"e")

    assert gather([scans / "a.mrxs"]).refusals == ["a.mrxs has files whose names are no Unicode text: rename them."]


def test_what_is_no_picture_is_left_out_of_a_folder_and_sent_where_it_is_named(tmp_path: Path) -> None:
    write_dicom(tmp_path / "000001", 300, 200)
    others: dict[str, str | bytes] = {
        "notes.txt": "n",
        "report.pdf": "%PDF-1.7",
        "list.xlsx": b"PK\x03\x04",
        "DICOMDIR": bytes(128) + b"DICM",
        "a.svs": "damaged",
        "b.isyntax": "i",
    }
    put(tmp_path, {**others, "empty": ""})

    gathered = gather([tmp_path])

    assert list(found(gathered)) == ["000001", "a.svs", "b.isyntax"]
    assert [file.name for file in gathered.left_out] == ["DICOMDIR", "empty", "list.xlsx", "notes.txt", "report.pdf"]
    assert found(gather([tmp_path / "notes.txt"])) == {"notes.txt": []}
    assert "notes.txt" in found(gather([tmp_path, tmp_path / "notes.txt"]))


def test_a_folder_without_a_picture_is_told(tmp_path: Path) -> None:
    put(tmp_path, {f"{n:02}.txt": "t" for n in range(12)})

    with pytest.raises(CommandFailed, match=r"no slide in what you named: 00\.txt, .*09\.txt and 2 more\."):
        gather([tmp_path])
