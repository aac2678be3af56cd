"""The verdict of a chaos run can be a bad one."""

from collections.abc import Callable

import pytest

from shared.bus.envelope import CAUSE
from shared.bus.letters import Letter
from tests.chaos.load import kind_of
from tests.chaos.verdict import Ends, judge

POISON = b"poison"
NAME = "001-png.png"
CLEAN = {"png.png": ("ready", "digest")}


def good() -> Ends:
    """One file that came to its end as it should, and one poison that came to its."""
    return Ends(
        images={NAME: ["a"]},
        states={"a": "ready"},
        reasons={"a": ""},
        digests={"a": "digest"},
        dead=[Letter.read("dicer", {}, POISON)],
    )


def test_a_run_in_which_all_is_well_is_clean() -> None:
    """The measure for the others."""
    verdict = judge([NAME], {NAME}, CLEAN, kind_of, good(), {POISON})

    assert verdict.clean
    assert (verdict.attempted, verdict.acknowledged, verdict.lost) == (1, 1, 0)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda ends: ends.images.clear(), "lost"),
        (lambda ends: ends.images[NAME].append("a"), "duplicated"),
        (lambda ends: ends.states.update(a="failed"), "unexpected"),
        (lambda ends: ends.states.update(a="dicing"), "unexpected"),
        (lambda ends: ends.digests.update(a="other"), "unexpected"),
        (lambda ends: ends.leftovers.update({"messages waiting in dicer": 1}), "left over"),
        (lambda ends: ends.dead.append(Letter.read("dicer", {}, b"good work")), "unexpected"),
        (lambda ends: ends.dead.clear(), "lost: the poison"),
    ],
)
def test_whatever_is_wrong_is_told(spoil: Callable[[Ends], object], complaint: str) -> None:
    """Each kind of harm spoils the verdict under its own name."""
    ends = good()
    spoil(ends)

    verdict = judge([NAME], {NAME}, CLEAN, kind_of, ends, {POISON})

    assert not verdict.clean
    assert any(line.startswith(complaint) for line in verdict.complaints)


@pytest.mark.parametrize(("cause", "clean"), [("reject", True), ("retries", False)])
def test_a_file_that_is_no_slide_may_be_refused_and_no_more(cause: str, clean: bool) -> None:
    """Its dead letter is expected, unless it says anything but that."""
    ends = good()
    ends.states["a"] = "failed"
    headers = {CAUSE: cause, "ce-subject": "a"}
    ends.dead.append(Letter.read("dicer", headers, b"file-complete"))

    verdict = judge([NAME], {NAME}, {"png.png": ("failed", "digest")}, kind_of, ends, {POISON})

    assert verdict.clean == clean


def test_a_file_that_its_sender_gave_up_is_told() -> None:
    """The gateway is never away for so long."""
    verdict = judge([NAME], set(), CLEAN, kind_of, Ends())

    assert verdict.lost == 0
    assert [line for line in verdict.complaints if line.startswith("given up")]
