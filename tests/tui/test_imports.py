"""Who never imports Textual: every command that prints text or JSON."""

import subprocess
import sys

import pytest

from tests.tui import machines

FACTS = str(machines.file_of("healthy_cpu"))


@pytest.mark.parametrize(
    "argv",
    [
        ("check", "--json", "--facts", FACTS),
        ("check", "--plain", "--facts", FACTS),
        ("tui", FACTS),
        ("rules",),
        ("--version",),
    ],
)
def test_textual_is_not_imported(argv: tuple[str, ...]) -> None:
    program = (
        "import sys\n"
        "from envdoctor.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "names = [n for n in sys.modules if n.split('.')[0] in ('textual', 'rich', 'torch')]\n"
        "print(names, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *argv],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_the_model_needs_no_textual() -> None:
    program = (
        "import sys\n"
        "import envdoctor.tui.model, envdoctor.tui.state, envdoctor.tui.summary\n"
        "print([n for n in sys.modules if n.split('.')[0] == 'textual'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
