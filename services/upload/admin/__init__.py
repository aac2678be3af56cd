"""What administrators see and do through the gateway: the pipeline, its dead letters, an image's past."""
