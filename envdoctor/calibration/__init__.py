"""Measures how fast the target trains, and says how fast it should be."""
