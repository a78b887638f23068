"""From the bytes of a picture to upright RGB, within limits on size, work and memory."""
