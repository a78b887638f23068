"""Training on a catalogue. Serving never imports this package."""
