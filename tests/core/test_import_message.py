"""What is told of an import that fails: the one line that says why."""

import pytest

from envdoctor.facts.torch import TorchImport

NUMPY = """

IMPORTANT: PLEASE READ THIS FOR ADVICE ON HOW TO SOLVE THIS ISSUE!

Please carefully study the information and documentation linked above.

Original error was: No module named 'numpy._core._multiarray_umath'
"""


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (NUMPY, "No module named 'numpy._core._multiarray_umath'"),
        ("libc10.so: cannot open shared object file", "libc10.so: cannot open shared object file"),
        ("\n  the first line says it\nand a second", "the first line says it"),
        ("", ""),
    ],
)
def test_the_line_that_says_most(message: str, line: str) -> None:
    assert TorchImport(outcome="exception", message=message, seconds=1.0).in_one_line == line
