"""What is laid out for a terminal, and left as it is for a pipe."""

from envdoctor.formats import Look
from envdoctor.render.fold import folded, page

TERMINAL = Look(width=40, terminal=True)
PIPE = Look(width=40)


def test_a_long_row_goes_on_below_its_last_column() -> None:
    row = "  ED303  error  missing  a library that torch needs is not found"
    assert folded(row, TERMINAL).split("\n") == [
        "  ED303  error  missing  a library that",
        "                         torch needs is",
        "                         not found",
    ]
    assert folded(row, PIPE) == row


def test_a_long_sentence_hangs_and_a_path_is_never_broken() -> None:
    path = "/a/" + "long/" * 12 + "file.so"
    assert folded(f"    it lies in {path}", TERMINAL).split("\n") == [
        "    it lies in",
        f"      {path}",
    ]


MARKDOWN = """\
# ED100 damaged-install

A paragraph that is written
on two lines and is wrapped again.

- an item of a list that is longer than the
  terminal is wide

    pip install torch --index-url https://download.pytorch.org/whl/cpu

| a | table |
"""


def test_a_page_is_wrapped_and_its_commands_are_not() -> None:
    assert (
        page(MARKDOWN, TERMINAL)
        == """\
# ED100 damaged-install

A paragraph that is written on two lines
and is wrapped again.

- an item of a list that is longer than
  the terminal is wide

    pip install torch --index-url https://download.pytorch.org/whl/cpu

| a | table |
"""
    )
    assert page(MARKDOWN, PIPE) == MARKDOWN
    coloured = page(MARKDOWN, Look(width=40, terminal=True, colour=True))
    assert coloured.startswith("\x1b[1mED100 damaged-install\x1b[0m\n")
