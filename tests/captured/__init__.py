"""Machines as `envdoctor collect` found them; `python -m tests.captured.capture` makes them."""

from pathlib import Path

CAPTURED = sorted(Path(__file__).parent.glob("*.json"))
