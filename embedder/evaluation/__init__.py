"""Quality measures of rankings and classifications."""
