"""Decoding in child processes: what a damaged or hostile slide can break is a child, never the service."""

from shared.decoding.pool import Decoders

__all__ = ["Decoders"]
