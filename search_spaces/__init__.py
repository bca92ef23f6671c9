"""The shipped search spaces."""
