"""Generated from `protos/lookalike/v1`; do not edit, run `make proto`."""
