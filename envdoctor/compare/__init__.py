"""Two snapshots beside each other: ranked differences, and which of them explains what. Pure."""
