"""The dicer's pixels: opening slides and cutting base tiles. Runs only inside decoder children, who alone load it.

Pixels are numpy arrays of shape (height, width, 3), uint8, sRGB. Encoded tiles are baseline JPEG files.
"""

from typing import TYPE_CHECKING

from shared.decoding.remote import remote

if TYPE_CHECKING:
    from services.dicer.pixels.by_tile import cut_by_tile
    from services.dicer.pixels.czi import cut_czi
    from services.dicer.pixels.encoding import crop_tiles
    from services.dicer.pixels.folding import fold_copied
    from services.dicer.pixels.pictures import cut_fed, cut_vips
    from services.dicer.pixels.probing import find_by_path, find_picture
    from services.dicer.pixels.regions import cut_openslide
else:
    __getattr__ = remote(
        __name__,
        {
            "crop_tiles": "encoding",
            "cut_by_tile": "by_tile",
            "cut_czi": "czi",
            "cut_fed": "pictures",
            "cut_openslide": "regions",
            "cut_vips": "pictures",
            "find_by_path": "probing",
            "find_picture": "probing",
            "fold_copied": "folding",
        },
    )

__all__ = [
    "crop_tiles",
    "cut_by_tile",
    "cut_czi",
    "cut_fed",
    "cut_openslide",
    "cut_vips",
    "find_by_path",
    "find_picture",
    "fold_copied",
]
