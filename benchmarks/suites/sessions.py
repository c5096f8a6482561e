"""The journal suite."""
