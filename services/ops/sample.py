"""The slide that the demo shows when it is given none."""

from deploy.local.sample import draw_sample as write_sample

__all__ = ["write_sample"]
