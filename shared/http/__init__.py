"""What the gateway and the viewer have in common as HTTP servers."""
