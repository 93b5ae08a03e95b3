"""The parts of the page, one file each: what stands where, and which handler answers which event."""
