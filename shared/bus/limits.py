"""How long a worker may have a delivery: waiting and held together, less than the 30 minutes of a broker.

A broker takes back what is not acked by then, and closes the channel with everything else that is on it.
"""

# For a slot; then it is deferred. Looked at every `LOOK_SECONDS`.
WAITING_SECONDS = 180.0
LOOK_SECONDS = 30.0
# From the moment when it was begun, whatever happens to it: its handler, and an outage after that.
HELD_SECONDS = 26 * 60.0
# Of these, in its handler, which is stopped then as if it had raised `RetryLater`.
HANDLING_SECONDS = 24 * 60.0
