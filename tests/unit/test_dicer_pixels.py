"""Where the dicer's pixel code is loaded."""

import pickle
import subprocess
import sys
from pathlib import Path

from services.dicer import pixels

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = {"PIL", "cv2", "imagecodecs", "numpy", "openslide", "pyvips", "simplejpeg"}


def test_the_service_itself_loads_no_image_library() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import sys, services.dicer.__main__; print(*sys.modules)"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )

    assert "services.dicer.pixels" in told.stdout.split()
    assert not LIBRARIES & set(told.stdout.split())


def test_every_function_is_found_where_it_arrives() -> None:
    arrived = [pickle.loads(pickle.dumps(getattr(pixels, name))) for name in pixels.__all__]

    assert [function.__name__ for function in arrived] == pixels.__all__
    assert all(function.__module__.startswith("services.dicer.pixels.") for function in arrived)
