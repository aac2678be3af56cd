"""What the end-to-end tests share: a stack of two dicers and two pyramids of one slot each, and a large slide in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker.large import write_large
from tests.running import TWO_OF_EACH, RunningStack, running_stack

SECOND_DATABASE = "research"


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    """The stack, started by its launcher."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIDEMILL_DICER_SLOTS", "1")
        patch.setenv("SLIDEMILL_PYRAMID_SLOTS", "1")
        patch.setenv("SLIDEMILL_DATABASES", SECOND_DATABASE)
        with running_stack("--workers", TWO_OF_EACH) as running:
            yield running


@pytest.fixture(scope="package")
def large_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide that takes every service a while."""
    path = tmp_path_factory.mktemp("slides") / "large.svs"
    write_large(path)
    return path


@pytest.fixture(scope="package")
def large_image(stack: RunningStack, large_slide: Path) -> dict[str, Any]:
    """The large slide's image, sent while nothing was disturbed."""
    return stack.upload(large_slide, session="undisturbed")[large_slide.name]
