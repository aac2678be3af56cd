"""Aperio-like slides."""

from deploy.local.sample import write_svs

__all__ = ["write_svs"]
