"""Tries whether processes of the target reach each other: an all-reduce under torch's launcher."""
