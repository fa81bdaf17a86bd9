"""Commands that are pasted: each is run in real shells, as it is shown after redaction."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envdoctor.api import Site, packages
from envdoctor.controls import without_controls
from envdoctor.redaction import Filter
from envdoctor.redaction.identity import Person
from envdoctor.shell import assignment, command, quote
from tests.support.doctor import envdoctor
from tests.support.patients import empty_patient

ODD_NAMES = [
    "plain",
    "my env",
    "v $(touch X)",
    "it's",
    'a "b"',
    "a;b&c|d",
    "~",
    "a~b",
    "$HOME",
    "ä",
    "-rf",
    "a\nb",
    "a\tb 100%\\n",
    "\x1b[31m\x9b\x7f",
    "\u202egpj",
    "env-\udce4",
    "\\xe4\\u001b",
]
PRINTS = "import sys; print(*sys.argv[1:], sep='\\0')"


def pasted(line: str, shell: str, home: Path | str, cwd: Path | str) -> str:
    """What a line prints in a shell whose home is that folder."""
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    env["PYTHONIOENCODING"] = "utf-8:surrogateescape"
    done = subprocess.run([shell, "-c", line], capture_output=True, check=False, env=env, cwd=cwd)
    assert done.returncode == 0, f"{line}: {done.stderr!r}"
    return os.fsdecode(done.stdout)


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("home", ["home", "my home", "it's", "$(touch X)", "h-\udce4"])
def test_a_command_pastes_after_redaction(tmp_path: Path, name: str, home: str, shell: str) -> None:
    own = tmp_path / home
    folder = own / name
    folder.mkdir(parents=True)
    line = command(sys.executable, "-c", PRINTS, str(folder), str(own), str(folder / "x y"))
    shown = Filter(Person(homes=(str(own),))).text(line)
    assert str(own) not in shown
    assert quote(str(own)) not in shown
    expected = [str(folder), str(own), str(folder / "x y")]
    assert shown.isprintable()
    assert pasted(shown, shell, own, tmp_path) == "\0".join(expected) + "\n"
    assert {one.name for one in tmp_path.iterdir()} == {home}


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", ["\n", "a\n\n", "\x1b[31m\udce4\n", "it's\t\n"])
def test_a_line_break_at_the_end_of_a_name_pastes(name: str, shell: str) -> None:
    line = Filter(Person()).text(command(sys.executable, "-c", PRINTS, f"/x/{name}/y", name))
    assert pasted(line, shell, "/", "/") == f"/x/{name}/y\0{name}\n"


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_variable_pastes_after_redaction(tmp_path: Path, name: str, shell: str) -> None:
    own = tmp_path / "home"
    own.mkdir()
    value = f"{own}/{name}:/opt/{name}:{own}/lib"
    line = f"{assignment('LD_LIBRARY_PATH', value)} printenv LD_LIBRARY_PATH"
    shown = Filter(Person(homes=(str(own),))).text(line)
    assert str(own) not in shown
    assert pasted(shown, shell, own, tmp_path) == value + "\n"


def test_the_home_stands_outside_of_quotes() -> None:
    line = command("/home/ann/my env/bin/python", "-m", "pip", "install", "numpy<2")
    assert (
        Filter(Person(homes=("/home/ann",))).text(line)
        == "~/'my env'/bin/python -m pip install 'numpy<2'"
    )


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("~", "~"),
        ("~/env/bin/python", "~/env/bin/python"),
        ("~/my env/python", "~/'my env'/python"),
        ("~/", "~/"),
        ("~ann/x", "'~ann'/x"),
        ("", "''"),
        ("/", "/"),
        ("a//b", "a//b"),
        ("torch==2.6.0+cu124", "torch==2.6.0+cu124"),
        ("https://host/a?b=c&d", "https://host/'a?b=c&d'"),
    ],
)
def test_words_as_a_shell_takes_them(word: str, quoted: str) -> None:
    assert quote(word) == quoted


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=4))
def test_any_words_come_out_of_a_shell_as_they_were(words: list[str]) -> None:
    spelled = [word for word in words if word != "~" and not word.startswith("~/")]
    line = command(sys.executable, "-c", "import json,sys; print(json.dumps(sys.argv[1:]))")
    assert json.loads(pasted(f"{line} {command(*spelled)}", "sh", "/", "/")) == spelled


HOSTILE = ["my env", "v $(touch X)", "it's", "-rf\n`touch X`", "e\x1b[2J\u202e", "env-\udce4"]


@pytest.mark.parametrize("name", HOSTILE)
def test_the_commands_of_a_diagnosis_paste(tmp_path: Path, name: str) -> None:
    """The commands that a real diagnosis offers, with the installer made harmless: each does what
    it says with the environment that it says, in every format the same."""
    home = tmp_path / "home"
    patient = empty_patient(home / name)
    (patient.site_packages / "pip").mkdir()
    (patient.site_packages / "pip/__main__.py").write_text(
        "import sys; print(sys.prefix, *sys.argv[1:], sep='\\0')"
    )
    target, env = ("--python", patient.root), {"HOME": str(home)}
    report = envdoctor("check", "--json", "--static", *target, env=env).json
    shown = [one for finding in report["findings"] for one in commands_of(finding)]
    shown += envdoctor("prescribe", "--json", *target, env=env).json["builds"][0]["commands"]
    installing = [one for one in shown if " -m pip install " in one]
    assert installing
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    for line in installing:
        assert line.startswith("~/")
        assert line.isprintable()
        for shell in ("sh", "bash"):
            prefix, *words = pasted(line, shell, home, cwd).removesuffix("\n").split("\0")
            assert prefix == str(patient.root)
            assert words[0] == "install"
    assert not list(cwd.iterdir())
    for form in ("text", "markdown"):
        text = envdoctor("check", "--format", form, "--static", *target, env=env).stdout
        lines = {line.strip() for line in text.splitlines()}
        for finding in report["findings"]:
            assert lines.issuperset(commands_of(finding)), form


def commands_of(finding: dict[str, Any]) -> list[str]:
    return [command for fix in finding["fixes"] for command in fix["commands"]]


NASTY = st.text(
    st.characters(exclude_characters="\0/:", exclude_categories=["Cs"])
    | st.sampled_from("'\"`$();&|<>\n\t \\\x1b\x9b\u202e~-\udcff"),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(NASTY, min_size=1, max_size=3), st.sampled_from(["sh", "bash"]))
def test_any_name_pastes_after_redaction(names: list[str], shell: str) -> None:
    """As a home, below it and elsewhere; nothing in it is executed or obeyed by a terminal."""
    home = f"/home{names[0]}"
    words = [f"{home}/{'/'.join(names)}", f"/opt/{names[-1]}", home]
    words = [word for word in words if "/." not in word]
    line = Filter(Person(homes=(home,))).text(command(sys.executable, "-c", PRINTS, *words))
    assert without_controls(line) == line
    assert pasted(line, shell, home, "/") == "\0".join(words) + "\n"


def test_repairs_of_recorded_facts_expand_their_tilde() -> None:
    site = Site(target="~/my env/bin/python")
    (line,) = packages.install(site, "numpy<2", summary="").commands
    assert line == "~/'my env'/bin/python -m pip install 'numpy<2'"
