"""The blocks of a request's body, proven first to be what the request says where only its end tells."""

from functools import partial

from services.upload.body import Body, Counted
from services.upload.budget import Budget
from services.upload.core import Invalid
from services.upload.digests import Digests
from services.upload.feed import Feed, cut
from services.upload.limits import Limits
from services.upload.sending import Sending
from shared.http.problems import Problem

PROVEN_RANGE = 16 * 1024 * 1024


async def feed_of(sending: Sending, body: Body, chunk: int, limits: Limits, budget: Budget) -> Feed:
    """The body's blocks. A range is read before the first is stored wherever only its end tells if it is right."""
    span = sending.span
    if span is None:
        counted = Counted(body, partial(limits.check_size, sending.name or "The file"))
        return Feed(cut(counted, 0, None, chunk, budget), budget)
    large = span.stop - span.start > PROVEN_RANGE
    if large and sending.range_claims:
        raise Invalid(f"Ranges with a digest of their own may be at most {PROVEN_RANGE} bytes long.")
    if large and not body.may_hold(span.stop - span.start):
        raise Invalid(f"The body is {await body.count()} bytes long, but its range {span.stop - span.start}.")
    if large or (body.length is not None and not sending.range_claims):
        return Feed(cut(body, span.start, span.stop, chunk, budget), budget)
    feed = await Feed.proven(body, span, chunk, budget)
    try:
        await _prove(sending, feed)
    except BaseException:
        await feed.aclose()
        raise
    return feed


async def _prove(sending: Sending, feed: Feed) -> None:
    if not sending.range_claims:
        return
    digests = Digests()
    for data in feed.ready():
        digests = await digests.after(data)
    for name, claim in sending.range_claims.items():
        found = getattr(digests, name)
        if found != claim:
            raise Problem(
                422, f"The range's {name} is {found}, but the request says {claim}.", "Send this range again."
            )
