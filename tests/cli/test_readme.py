"""The README says only what is so."""

import re
from pathlib import Path

from envdoctor.api import Environment, Plugin
from envdoctor.cli import COMMANDS
from tests.support.doctor import envdoctor

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_example_of_a_plugin_works() -> None:
    (code,) = blocks("python")
    scope: dict[str, object] = {"__name__": "example"}
    exec(compile(code, "README.md", "exec"), scope)
    plugin = scope["plugin"]
    assert isinstance(plugin, Plugin)
    (check,) = plugin.checks
    environment = Environment(variables={"CUDA_CACHE_DISABLE": "1"})
    (finding,) = check.fn(environment=environment)
    assert finding.message == "CUDA_CACHE_DISABLE is 1: kernels are compiled at every start"


def test_every_command_is_in_the_readme_and_has_help() -> None:
    named = set(re.findall(r"`envdoctor ([a-z]+)", README))
    assert set(COMMANDS) == named
    for command in COMMANDS:
        run = envdoctor(command, "--help")
        assert run.exit_code == 0
        assert f"envdoctor {command}" in run.stdout


def test_the_first_two_commands_are_the_set_up() -> None:
    commands = blocks("sh")
    assert len(commands) == 2
    assert commands[0].rstrip().endswith(".venv/bin/envdoctor")
    assert "pytest" in commands[1]
