"""Texts that a user has at hand, as facts: what a text does not tell is not observed."""
