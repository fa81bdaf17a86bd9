"""The parts of the screens. Each shows a State and asks for nothing but through messages."""
