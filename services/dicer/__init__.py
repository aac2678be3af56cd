"""Cuts the base level of a slide: file-complete and dice-block in, base-diced out."""
