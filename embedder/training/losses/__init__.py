"""The terms that training minimises, one concept per module."""
