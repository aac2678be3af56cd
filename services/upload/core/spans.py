"""Bytes that are stored, as spans of a file."""

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """Bytes from `start` up to `stop`, end exclusive."""

    start: int
    stop: int


def on_grid(span: Span, chunk: int, total: int) -> bool:
    """Whether a range consists of whole chunks, which may come in any order."""
    return span.start % chunk == 0 and (span.stop % chunk == 0 or span.stop == total)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Sorted, with overlapping and touching spans made one."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.start <= result[-1].stop:
            result[-1] = Span(result[-1].start, max(result[-1].stop, span.stop))
        elif span.stop > span.start:
            result.append(span)
    return result


def expected_offset(spans: list[Span]) -> int:
    """Where the unbroken beginning of a file ends; `spans` are joined."""
    return spans[0].stop if spans and spans[0].start == 0 else 0


def held_until(spans: list[Span], start: int) -> int:
    """Where what is stored from `start` on ends: `start` itself if nothing is; `spans` are joined."""
    return next((span.stop for span in spans if span.start <= start < span.stop), start)


def covering(pieces: Iterable[Span], span: Span) -> list[tuple[Span, Span]]:
    """Which part of the span each piece gives, in order, up to the first gap; of pieces that overlap the later one."""
    result: list[tuple[Span, Span]] = []
    ahead, begun = sorted(pieces, reverse=True), list[Span]()
    reached = span.start
    while reached < span.stop:
        while ahead and ahead[-1].start <= reached:
            begun.append(ahead.pop())
        while begun and begun[-1].stop <= reached:
            begun.pop()
        if not begun:
            break
        stop = min(begun[-1].stop, span.stop, ahead[-1].start if ahead else span.stop)
        result.append((begun[-1], Span(reached, stop)))
        reached = stop
    return result


def stored_bytes(spans: list[Span]) -> int:
    """How many bytes joined spans hold."""
    return sum(span.stop - span.start for span in spans)
