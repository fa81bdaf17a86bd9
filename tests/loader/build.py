"""Small shared objects, compiled, and what the real loader makes of them."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envdoctor.loader.elf import read_elf
from envdoctor.loader.process import Process, SymbolReader
from envdoctor.loader.search import Files, system_of
from envdoctor.probes.loader import cpu_flags

_PROGRAM = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        int mode = RTLD_NOW | (argv[i][0] == '+' ? RTLD_GLOBAL : RTLD_LOCAL);
        void *handle = dlopen(argv[i] + (argv[i][0] == '+'), mode);
        printf("open %s\n", handle ? "ok" : dlerror());
    }
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    while (fgets(line, sizeof line, maps))
        if (strchr(line, '/')) printf("map %s", strchr(line, '/'));
    return 0;
}
"""


@dataclass
class Workshop:
    """Compiles into one folder."""

    folder: Path
    compiler: str

    def library(
        self,
        name: str,
        *,
        source: str = "",
        needs: Sequence[str] = (),
        flags: Sequence[str] = (),
        soname: str | None = None,
        versions: str = "",
    ) -> Path:
        """A shared object at `folder/name`, linked against the objects at `needs`."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        code = path.with_suffix(".c")
        word = re.sub(r"\W", "_", name)
        code.write_text(source or f"int in_{word}(void) {{ return 1; }}\n")
        options = [f"-Wl,-soname,{soname or path.name}", *flags]
        if versions:
            script = path.with_suffix(".map")
            script.write_text(versions)
            options.append(f"-Wl,--version-script={script}")
        linked = ["-Wl,--no-as-needed", *(str(self.folder / one) for one in needs)]
        self._compile(["-shared", "-fPIC", "-o", str(path), str(code), *linked, *options])
        return path

    def program(self, *, needs: Sequence[str] = (), flags: Sequence[str] = ()) -> Path:
        """A program that opens its arguments (`+name` with RTLD_GLOBAL) and prints its maps."""
        path = self.folder / "program"
        code = self.folder / "program.c"
        code.write_text(_PROGRAM)
        linked = ["-Wl,--no-as-needed", *(str(self.folder / one) for one in needs)]
        self._compile(["-o", str(path), str(code), *linked, "-ldl", *flags])
        return path

    def _compile(self, arguments: Sequence[str]) -> None:
        command = [self.compiler, "-w", "-Wl,--allow-shlib-undefined", *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Answer:
    """What happened: which dlopens worked, and the shared objects that are mapped."""

    opened: tuple[bool, ...]
    mapped: frozenset[str]
    messages: tuple[str, ...] = ()


def truth(
    program: Path, names: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Answer:
    """Run the program with the real loader."""
    result = subprocess.run(
        [str(program), *names],
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    opened = re.findall(r"^open (.*)$", result.stdout, re.MULTILINE)
    maps = re.findall(r"^map (.*)$", result.stdout, re.MULTILINE)
    return Answer(
        opened=tuple(text == "ok" for text in opened),
        mapped=frozenset(os.path.realpath(path) for path in maps),
        messages=(*opened, result.stderr),
    )


def prediction(
    program: Path, names: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Answer:
    """The same on paper."""
    executable = read_elf(str(program))
    flags = cpu_flags(Path("/proc/cpuinfo"))
    system = system_of(executable, {**os.environ, **(variables or {})}, cpu_flags=flags)
    process = Process(system, Files(), SymbolReader())
    started = process.start(executable)
    if not started.ok:
        return Answer((), frozenset(), (started.fatal,))
    openings = [
        process.dlopen(name.removeprefix("+"), process.main, everywhere=name.startswith("+"))
        for name in names
    ]
    return Answer(
        opened=tuple(opening.ok for opening in openings),
        mapped=frozenset(os.path.realpath(one.path) for one in process.mapped),
        messages=tuple(opening.fatal or "ok" for opening in openings),
    )
