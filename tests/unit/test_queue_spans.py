"""What `make bench-queue` reckons an image to cost."""

from tests.bench.queue import Span, spans


def test_the_spans_together_are_the_whole() -> None:
    ready = [11.0, 12.0, 14.0, 15.0, 19.0]

    assert list(spans(10.0, ready, 2)) == [Span(2, 10.0, 12.0), Span(2, 12.0, 15.0), Span(1, 15.0, 19.0)]
    assert list(spans(10.0, ready, 5)) == [Span(5, 10.0, 19.0)]


def test_what_an_image_costs_is_the_time_of_a_span_by_its_images() -> None:
    assert Span(4, 10.0, 12.0).each == 0.5
