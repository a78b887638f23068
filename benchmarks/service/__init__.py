"""Measures the served system from outside of Python; see docs/benchmarks/method.md."""
