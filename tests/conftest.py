"""Fixtures that every kind of test may use."""

import signal

from hypothesis import settings

pytest_plugins = ["tests.servers"]

# Speed is measured in benches; a loaded machine must not fail a property.
settings.register_profile("slidemill", deadline=None)
settings.load_profile("slidemill")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # As in a job that a shell runs in the background. The commands that tests start and interrupt would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
