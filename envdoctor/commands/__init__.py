"""One command a file: its options, and which parts of envdoctor it calls."""
