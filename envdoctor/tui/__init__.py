"""The TUI: shows a report and the progress of the work, and computes nothing."""
