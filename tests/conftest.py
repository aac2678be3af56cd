"""Fixtures that every kind of test may use."""

from hypothesis import settings

pytest_plugins = ["tests.servers"]

# Speed is measured in benches; a loaded machine must not fail a property.
settings.register_profile("slidemill", deadline=None)
settings.load_profile("slidemill")
