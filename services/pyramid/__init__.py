"""Folds the levels above the base and finishes: base-diced, fold-block and pyramid-built in, image-ready out."""
