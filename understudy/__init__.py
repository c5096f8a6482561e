"""Durable, supervised actors for Python."""
