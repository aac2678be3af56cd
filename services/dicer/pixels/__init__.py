"""The dicer's pixels: opening slides and cutting base tiles. Runs only inside decoder children.

Pixels are numpy arrays of shape (height, width, 3), uint8, sRGB. Encoded tiles are baseline JPEG files.
"""

from services.dicer.pixels.czi import cut_czi
from services.dicer.pixels.encoding import crop_tiles
from services.dicer.pixels.folding import fold_copied
from services.dicer.pixels.jpeg2000 import cut_jpeg2000
from services.dicer.pixels.pictures import cut_fed, cut_vips
from services.dicer.pixels.probing import find_by_path, find_picture
from services.dicer.pixels.regions import cut_openslide

__all__ = [
    "crop_tiles",
    "cut_czi",
    "cut_fed",
    "cut_jpeg2000",
    "cut_openslide",
    "cut_vips",
    "find_by_path",
    "find_picture",
    "fold_copied",
]
