"""What is not UTF-8 or obeyed by a terminal is escaped in documents, and read back as it was."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envdoctor.controls import escaped, unescaped
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.documents import facts_document, read_snapshot
from envdoctor.facts.libraries import LibraryResolution, ResolvedLibrary
from envdoctor.facts.machine import Environment
from envdoctor.facts.python import Target
from envdoctor.output import Destination, Output
from envdoctor.redaction import Filter
from envdoctor.redaction.identity import Person
from tests.support.doctor import envdoctor
from tests.support.patients import empty_patient, fake_torch

OBEYED = [*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010)]
OBEYED += [*range(0x2028, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x206A), 0x061C, 0xFEFF]
SPELLINGS = ["\\", "\\\\", "\\xe4", "\\x1b", "\\u001b", "\\udce4", "x", "u", "e4", "%", "%5C", "{"]
PARTS = (
    st.characters()
    | st.sampled_from([*map(chr, OBEYED), *map(chr, range(0xD800, 0xE000))])
    | st.sampled_from([*SPELLINGS, "\x1b[31m", "\x1b]0;title\x07", "\r\n", "\t"])
)
ANYTHING = st.lists(PARTS, max_size=12).map("".join)


@settings(max_examples=1000)
@given(ANYTHING)
@example("\\\udcff \\\\\udcff \\\\\\xff \\xff \\\\xff")
@example("\ud83d\ude00 \\ud83d\\ude00 \U0010fffd")
def test_every_text_is_read_back_as_it_was(text: str) -> None:
    shown = escaped(text)
    assert unescaped(shown) == text
    assert not {ord(one) for one in shown} & {*OBEYED, *range(0xD800, 0xE000)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (os.fsdecode(b"/srv/env-\xff"), "/srv/env-\\xff"),
        ("\x1b[31mred\x9b\u202e", "\\u001b[31mred\\u009b\\u202e"),
        ("the text \\xff", "the text \\\\xff"),
        ("C:\\Users\\x", "C:\\Users\\x"),
        ("\\\udcff", "\\\\\\xff"),
        ("100%\tä\n", "100%\tä\n"),
    ],
)
def test_how_it_is_spelled(text: str, shown: str) -> None:
    assert escaped(text) == shown


@settings(max_examples=60, deadline=None)
@given(ANYTHING, ANYTHING)
def test_what_is_recorded_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, text: str, key: str
) -> None:
    library = ResolvedLibrary(soname=text, path=f"/x/{text}", rule="RPATH", directory=text)
    facts = Snapshot(
        {
            LibraryResolution: Observed(
                value=LibraryResolution(root=text, libraries=(library,), import_error=text),
                source=text,
            ),
            Environment: Observed(value=Environment(variables={key: text}), source="x"),
        }
    )
    file = tmp_path_factory.getbasetemp() / "facts.json"
    Output().publish(facts_document(facts), Destination(file=str(file)))
    again = read_snapshot(str(file), (LibraryResolution, Environment))
    assert dict(again.items()) == dict(facts.items())


SECRET = "ghp_" + "a" * 36


@pytest.mark.parametrize(
    "before", ["\x1b[31m", "\x1b", "\udce4", "\x9b", "\\", "\x1b]0;", "\x1b]8;;x\x1b\\", "\u202e"]
)
def test_no_escape_hides_a_secret(before: str) -> None:
    for text in (f"{before}{SECRET}\x1b[0m", f"{before}{SECRET}\x07"):
        for one in (Filter(Person()), Filter(Person(), for_programs=True)):
            assert SECRET not in one.text(text)


def test_no_colour_hides_a_secret_that_it_cuts_in_two() -> None:
    shown = Filter(Person(), for_programs=True).text(f"{SECRET[:20]}\x1b[1m{SECRET[20:]}")
    assert shown == "<token>"


def test_a_home_that_is_not_utf_8_is_shortened_and_its_neighbour_is_not() -> None:
    one = Filter(Person(homes=("/data/\udce4",)), for_programs=True)
    assert one.text("/data/\udce4/x /data/\udce4\udce4/x") == "~/x /data/\\xe4\\xe4/x"


def test_a_fact_whose_number_is_such_a_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    value = {"type": "Observed", "source": "x", "value": {"type": "Target", "problem": "\\xff"}}
    file.write_text(json.dumps({"schema_version": 2, "facts": {"Target": value}}))
    run = envdoctor("check", "--facts", file)
    assert (run.exit_code, len(run.stderr.splitlines())) == (2, 1)
    assert "fact `Target`" in run.stderr


# --- a real environment in a folder whose name is not UTF-8 ---


@pytest.mark.parametrize("name", [b"env-\xff", b"\xe4\\xe4 \\\xff\x1b[31m\xc2\x9b"])
def test_a_folder_of_bytes_is_examined_recorded_and_read(tmp_path: Path, name: bytes) -> None:
    patient = empty_patient(tmp_path / os.fsdecode(name))
    fake_torch(patient, "open(__file__ + '.imported', 'a').close()\nraise OSError(__file__)")
    imported = patient.site_packages / "torch/__init__.py.imported"
    target, env = ("--python", patient.root), {"LC_ALL": "C.UTF-8"}
    live = envdoctor("check", "--json", *target, env=env).json
    facts = tmp_path / "facts.json"
    assert envdoctor("collect", *target, "-o", facts, env=env).exit_code == 0
    recorded = envdoctor("check", "--json", "--facts", facts, env=env).json

    chosen = read_snapshot(str(facts), (Target,)).value(Target)
    assert chosen is not None
    assert os.fsencode(chosen.path) == os.fsencode(patient.root) + b"/bin/python"
    assert recorded["target"] == live["target"]
    assert unescaped(live["target"]["path"]) == chosen.path
    assert [one["message"] for one in recorded["findings"]] == [
        one["message"] for one in live["findings"]
    ]
    (line,) = commands_in(live)
    assert commands_in(recorded) == [line]
    for shell in ("sh", "bash"):
        imported.unlink()
        done = subprocess.run([shell, "-c", line], capture_output=True, text=True, check=False)
        assert "OSError" in done.stderr
        assert imported.exists()


def commands_in(report: dict[str, object]) -> list[str]:
    findings = report["findings"]
    assert isinstance(findings, list)
    return [line for one in findings for fix in one["fixes"] for line in fix["commands"]]
