"""Which files are one slide together."""

import pytest

from shared.slides.companions import Slide, group, index_of, refusal

SLIDEDAT = "\ufeff[HIERARCHICAL]\r\nINDEXFILE = Index.dat\r\n[DATAFILE]\r\nFILE_COUNT = 2\r\nFILE_0 = Data0000.dat\r\n"
SLIDEDAT += "FILE_1 = Data0001.dat\r\n"
VMS = "[Virtual Microscope Specimen]\nNoLayers=1\nImageFile=a.jpg\nImageFile(1,0)=a(1,0).jpg\nMapFile=a_map.jpg\n"
VMS += "MacroImage=\nOptimisationFile=a.opt\n"


def test_a_mirax_slide_is_its_file_and_its_folder() -> None:
    names = ["c/x.mrxs", "c/x/Slidedat.ini", "c/x/Index.dat", "c/x/Data0000.dat", "c/x/Data0001.dat", "c/xy/a.svs"]

    found = group(names, {"c/x/Slidedat.ini": SLIDEDAT}, {})

    assert found == [Slide("c/x.mrxs", tuple(sorted(names[:5])), ()), Slide("c/xy/a.svs", ("c/xy/a.svs",), ())]
    assert refusal(found[0]) is None


def test_a_missing_part_is_named() -> None:
    names = ["x.mrxs", "x/Slidedat.ini", "x/Index.dat", "x/Data0000.dat"]

    (found,) = group(names, {"x/Slidedat.ini": SLIDEDAT}, {})

    assert found.missing == ("x/Data0001.dat",)
    said = refusal(found)
    assert said is not None
    assert said[0] == "x.mrxs lacks x/Data0001.dat."


def test_a_mirax_file_alone_lacks_its_index() -> None:
    assert group(["x.MRXS"], {}, {}) == [Slide("x.MRXS", ("x.MRXS",), ("x/Slidedat.ini",))]


def test_a_hamamatsu_slide_is_the_files_that_it_names() -> None:
    names = ["a.vms", "a.jpg", "a(1,0).jpg", "b.jpg", "a.opt"]

    found = group(names, {"a.vms": VMS}, {})

    assert found == [
        Slide("a.vms", ("a(1,0).jpg", "a.jpg", "a.opt", "a.vms"), ("a_map.jpg",)),
        Slide("b.jpg", ("b.jpg",), ()),
    ]


def test_what_openslide_does_without_is_not_missing() -> None:
    (found,) = group(["a.vms", "a.jpg", "a(1,0).jpg", "a_map.jpg"], {"a.vms": VMS}, {})

    assert found.missing == ()


def test_a_dicom_series_is_one_slide_within_one_folder() -> None:
    series = {"p/1.dcm": "1.2", "p/2.dcm": "1.2", "p/3.dcm": "1.3", "q/4.dcm": "1.2"}

    mains = [(slide.main, slide.members) for slide in group(series, {}, series)]

    assert mains == [
        ("p/1.dcm", ("p/1.dcm", "p/2.dcm")),
        ("p/3.dcm", ("p/3.dcm",)),
        ("q/4.dcm", ("q/4.dcm",)),
    ]


@pytest.mark.parametrize(
    ("name", "index"),
    [("c/x.y.mrxs", "c/x.y/Slidedat.ini"), ("a.vmu", "a.vmu"), ("a.svs", None), ("mrxs", None)],
)
def test_the_file_that_tells(name: str, index: str | None) -> None:
    assert index_of(name) == index
