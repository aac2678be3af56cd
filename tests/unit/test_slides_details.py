"""What OpenSlide's properties say, in the same words whoever made the slide."""

import pytest

from shared.slides.details import of_openslide


@pytest.mark.parametrize(
    ("properties", "scanned", "barcode"),
    [
        ({"aperio.Date": "01/02/26", "aperio.Time": "10:00:00"}, "2026-01-02T10:00:00", None),
        (
            {"aperio.Date": "01/02/2026", "aperio.Time": "10:00:00", "aperio.Time Zone": "GMT+01:00"},
            "2026-01-02T10:00:00+01:00",
            None,
        ),
        (
            {"leica.creation-date": "2026-01-02T10:00:00.5Z", "leica.barcode": "S26-1"},
            "2026-01-02T10:00:00.500000+00:00",
            "S26-1",
        ),
        ({"mirax.GENERAL.SLIDE_CREATIONDATETIME": "02/01/2026 10:00:00"}, "2026-01-02T10:00:00", None),
        ({"dicom.AcquisitionDateTime": "20260102100000.000000"}, "2026-01-02T10:00:00", None),
        ({"dicom.AcquisitionDateTime": "20260102100000.123456+0100"}, "2026-01-02T10:00:00+01:00", None),
        ({"philips.PIM_DP_UFS_BARCODE": "UzI2LTQ=", "openslide.barcode": "S26-4"}, None, "S26-4"),
        ({"tiff.DateTime": "2026:01:02 10:00:00"}, "2026-01-02T10:00:00", None),
        ({"tiff.DateTime": "yesterday", "ventana.BarCode1": "S26-2"}, None, "S26-2"),
        ({"openslide.barcode": "S26-3"}, None, "S26-3"),
        ({}, None, None),
    ],
)
def test_time_and_barcode_are_found_in_every_makers_words(
    properties: dict[str, str], scanned: str | None, barcode: str | None
) -> None:
    details = of_openslide(properties)

    assert (details.scanned, details.barcode) == (scanned, barcode)


def test_resolution_and_objective_are_numbers_or_unknown() -> None:
    details = of_openslide(
        {"openslide.mpp-x": "0,25", "openslide.objective-power": "none", "openslide.level[0].w": "9"}
    )

    assert (details.mpp, details.objective) == (0.25, None)
    assert "openslide.level[0].w" not in details.properties
