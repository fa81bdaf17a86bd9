"""How every command ends. Imports nothing, so that the first lines of the program can use it."""

EXIT_OK = 0
EXIT_FINDINGS = 1
"""At least one finding at or above `--fail-on`; of `diff`, a difference."""

EXIT_USAGE = 2
"""Bad input, or an output that cannot be written to."""

EXIT_INCOMPLETE = 3
"""Something that is wanted could not be tried, or time ran out."""

EXIT_OWN_FAULT = 4
"""The doctor itself failed."""

EXIT_INTERRUPTED = 130
"""Ctrl-C: 128 and the number of the signal, as shells count."""
