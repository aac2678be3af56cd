"""The tus resumable upload protocol, version 1.0: https://tus.io/protocols/resumable-upload."""
