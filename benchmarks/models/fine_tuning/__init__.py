"""What fine-tuning gains by the processor's time that it takes."""
