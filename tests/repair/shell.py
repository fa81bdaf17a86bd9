"""A real shell in which the commands of fixes are run: programs by name only write down how they
were called, so that what a shell makes of a command is seen and nothing is installed."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("uv", "conda", "pixi", "poetry", "pdm", "pipenv", "pip", "sudo", "rpm")
"""What a fix may call; `dpkg`, `cut` and the like are the system's own."""

_STUB = r"""#!/bin/sh
{
    printf '%s\036' "PIPENV_PIPFILE=${PIPENV_PIPFILE-}" "$0" "$@"
    printf '\n\035'
} >> "$RECORD"
"""

HOSTILE = 'it\'s "my" $(touch pwned) `touch pwned`; touch pwned #'
"""A name of a folder that does harm wherever it is not quoted."""


@dataclass(frozen=True)
class Call:
    """How a program was called; `pipfile` is the variable PIPENV_PIPFILE."""

    program: str
    words: tuple[str, ...]
    pipfile: str = ""


@dataclass(frozen=True)
class Shell:
    """A folder with programs that record their calls."""

    root: Path
    name: str

    @property
    def programs(self) -> Path:
        return self.root / "programs"

    def add(self, path: Path) -> Path:
        """Put a program that records its calls at that path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_STUB)
        path.chmod(0o755)
        return path

    def run(self, commands: tuple[str, ...], *, cwd: Path | None = None) -> list[Call]:
        """The calls that the commands, pasted line by line, lead to; the shell must like them."""
        script = "\n".join(commands) + "\n"
        folder = cwd or self.root / "work"
        folder.mkdir(exist_ok=True)
        record = self.root / "record"
        record.write_text("")
        shell = shutil.which(self.name)
        assert shell is not None
        subprocess.run([shell, "-n", "-c", script], check=True, timeout=20)
        done = subprocess.run(
            [shell, "-c", script],
            cwd=folder,
            env={"PATH": f"{self.programs}:/usr/bin:/bin", "RECORD": str(record), "HOME": "/"},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert done.returncode == 0, (commands, done.stderr)
        left = [path.name for path in (folder, self.root) for path in path.glob("pwned*")]
        assert not left, f"a name was executed: {commands}"
        return [_call(entry) for entry in record.read_text().split("\n\035") if entry]


def _call(entry: str) -> Call:
    variable, program, *words = entry.split("\036")[:-1]
    return Call(
        program=Path(program).name if "/programs/" in program else program,
        words=tuple(words),
        pipfile=variable.removeprefix("PIPENV_PIPFILE="),
    )
