"""The gateway of tests/gateway, for clients that others wrote."""

from tests.gateway.conftest import gateway, page

__all__ = ["gateway", "page"]
