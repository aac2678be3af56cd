"""Faults on purpose: what is broken at random, what is sent meanwhile, and how the end is checked."""
