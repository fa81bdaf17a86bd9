"""A policy that cannot be used is refused with file, place and remedy."""

import datetime
import re
from pathlib import Path

import pytest

from envdoctor.errors import BadInput
from envdoctor.policy.read import read_policy
from tests.policy.files import policy, rules
from tests.support.doctor import envdoctor
from tests.tui import machines


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[versions]\ntorch = 2.6", 2, "got `float`; write it in quotes"),
        ('[versions]\ntorch = "2.6"', 2, "write `==2.6` or `>=2.6`"),
        ('[versions]\ntorch = "new"', 2, "`new` is no range of versions; write `>=2.6,<2.8`"),
        ('[versions]\n\ntroch = ">=2"', 3, "no such key; did you mean `torch`"),
        ("[verions]\ntorch = '>=2'", 1, "did you mean `versions`"),
        ("[gpus]\nfoo = 1", 2, "known are min-count, models"),
        ("[gpus]\nmin-count = -1", 2, "no number of 0 or more"),
        ("[machine]\nmin-shm-gib = nan", 2, "no number of 0 or more"),
        ('[gpus]\ncompute-capability = "8"', 2, "write `==8` or `>=8`"),
        ('outcomes = ["fast"]', 1, "outcomes are gpu, distributed"),
        ('[packages]\nrequired = ["numpy >> 2"]', 2, "write as for pip"),
        ('[severity]\nED999 = "error"', 2, "`ED999` is no code or name of a rule"),
        ('[severity]\nshm-to-small = "error"', 2, "did you mean `shm-too-small`"),
        ('[severity]\nED503 = "fatal"', 2, "severities error, warning, info"),
        ('severity = "error"', 1, "severity: expected"),
        ("[packages]\nrequired = ['x; sys_platform==\"win32\"']", 2, "markers and addresses"),
        ('[packages]\nforbidden = ["x @ https://host/x.whl"]', 2, "write `x` and a range"),
        ('# a\u2028b\n[versions]\ntorch = "2.6"', 3, "write `==2.6`"),
        ("[speed]\nspeedup = -2", 2, "speed.speedup: -2.0 is no number of 0 or more"),
        ("[speed]\nspeedup = '20x'", 2, "speed.speedup: expected `float | null`, got `str`"),
        ('[[ignore]]\nrule = "ED503"\nreason = "x"', 1, "missing required field `expires`"),
        (
            '[[ignore]]\nrule="ED503"\nreason="x"\nexpires=2026-01-01\n'
            '[[ignore]]\nrule="shm"\nreason="x"\nexpires=2026-01-01',
            6,
            "ignore.1.rule: `shm` is no code",
        ),
        ('[[ignore]]\nrule = "ED503"\nreason = " "\nexpires = 2026-01-01', 3, "say why"),
        ('[[ignore]]\nrule = "ED503"\nreason = "x"\nexpires = "soon"', 4, "ignore.0.expires"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    with pytest.raises(BadInput) as refused:
        policy(text, tmp_path)
    message = str(refused.value)
    assert message.startswith(f"`{tmp_path}/envdoctor.toml`, line {line}: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[versions\n", "no valid TOML: "),
        (b"a = '\xff'", "not UTF-8"),
        (b"#" * 2**21, "longer than a policy is"),
    ],
)
def test_what_is_no_toml(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=words):
        read_policy(str(file), rules())


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(b'\xef\xbb\xbf[versions]\ntorch = ">=2"')
    assert read_policy(str(file), rules()).policy.versions.torch == ">=2"


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, Path("/dev/zero")):
        with pytest.raises(BadInput, match="cannot read the policy"):
            read_policy(str(path), rules())


def test_the_table_of_a_pyproject(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n[tool.envdoctor.versions]\ntorch = ">=2.6"\n'
    held = policy(text, tmp_path, "pyproject.toml")
    assert held.policy.versions.torch == ">=2.6"
    assert held.line_of("versions.torch") == 4
    with pytest.raises(BadInput, match=r"no table \[tool.envdoctor\]"):
        policy('[project]\nname = "x"', tmp_path, "pyproject.toml")
    with pytest.raises(BadInput, match=r"line 2: versions.torch"):
        policy("[tool.envdoctor]\nversions.torch = 1", tmp_path, "pyproject.toml")


def test_rules_go_by_code_or_name(tmp_path: Path) -> None:
    text = (
        '[severity]\nshm-too-small = "error"\n[[ignore]]\nrule = "ed604"\n'
        'reason = "known"\nexpires = 2026-12-31\n'
    )
    held = policy(text, tmp_path)
    assert held.policy.severity == {"ED503": "error"}
    (ignored,) = held.policy.ignore
    assert (ignored.rule, ignored.expires) == ("ED604", datetime.date(2026, 12, 31))


@pytest.mark.parametrize("form", [(), ("--format", "sarif")])
def test_the_program_ends_with_2_and_one_line(tmp_path: Path, form: tuple[str, ...]) -> None:
    (tmp_path / "envdoctor.toml").write_text("[verions]\n")
    facts = machines.file_of("healthy_cpu")
    words = ("check", "--facts", facts, "--policy", "envdoctor.toml", *form)
    run = envdoctor(*words, cwd=tmp_path)
    assert run.exit_code == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith("envdoctor: `envdoctor.toml`, line 1: verions: there is no such key")
    assert run.stdout == "" or "executionSuccessful" in run.stdout


def test_the_policy_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    held = policy(example, tmp_path).policy
    for table in ("versions", "packages", "gpus", "machine"):
        record = getattr(held, table)
        assert all(getattr(record, name) for name in record.__struct_fields__), table
