"""The filter of all that is written: who it is, what is secret, and what a terminal obeys."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envdoctor.controls import unescaped
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.documents import facts_document
from envdoctor.facts.libraries import LibraryResolution, ResolvedLibrary
from envdoctor.redaction import Filter
from envdoctor.redaction.identity import Person
from tests.support.doctor import envdoctor, validator
from tests.support.patients import empty_patient, fake_torch

ANN = Person(homes=("/home/ann",), users={"USER": "ann"}, host="gpu-box-7")


def written(text: str, person: Person = ANN) -> str:
    return Filter(person).text(text)


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJlbnZkb2N0b3IifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann/.venv/bin/python", "~/.venv/bin/python"),
        ("/home/ann", "~"),
        ("`/home/ann`: no", "`~`: no"),
        ("it is /home/ann.", "it is ~."),
        ("('/home/ann', '/home/ann!')", "('~', '~!')"),
        ("PATH=/usr/bin:/home/ann/bin", "PATH=/usr/bin:~/bin"),
        ("gcc -I/home/ann/inc -L/home/ann/lib", "gcc -I~/inc -L~/lib"),
        ("file:///home/ann/x", "file://~/x"),
        ("/home/ann.old/x", "/home/<user-1>/x"),
        ("/data/home/ann/x", "/data/home/<user>/x"),
        ("libcudart.so.12", "libcudart.so.12"),
    ],
)
def test_the_home_folder_is_shortened(text: str, expected: str) -> None:
    assert written(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/bob/x", "/home/<user-1>/x"),
        ("/home/bob", "/home/<user-1>"),
        ("/home/bob: no, /home/bob.", "/home/<user-1>: no, /home/<user-1>."),
        ("/home/bob:/home/eve:/home/bob", "/home/<user-1>:/home/<user-2>:/home/<user-1>"),
        ("/Users/bob/lib and /root/lib", "/Users/<user-1>/lib and /<user-2>/lib"),
        ("/home/b.ob@corp.com/x", "/home/<user-1>/x"),
        ("/home/linuxbrew/.linuxbrew/bin", "/home/linuxbrew/.linuxbrew/bin"),
        ("/Users/Shared/x", "/Users/Shared/x"),
        ("/home/", "/home/"),
        ("/rootless /var/root/x", "/rootless /var/root/x"),
    ],
)
def test_homes_of_others_get_numbers(text: str, expected: str) -> None:
    assert written(text) == expected


def test_the_numbers_are_the_same_in_all_of_a_document() -> None:
    once = Filter(ANN)
    assert once.values({"a": "/home/eve", "b": ["/home/bob/x", "/home/eve/x"]}) == {
        "a": "/home/<user-1>",
        "b": ["/home/<user-2>/x", "/home/<user-1>/x"],
    }


def test_root_is_at_home_in_root() -> None:
    assert written("/root/x /home/ann", Person(homes=("/root",))) == "~/x /home/<user-1>"


def test_a_home_of_slash_shortens_nothing() -> None:
    assert written("/usr/lib", Person(homes=("/",))) == "/usr/lib"


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "a" * 34,
        "api_org_" + "a" * 34,
        "ghp_" + "a" * 36,
        "github_pat_" + "a" * 30,
        "glpat-" + "a" * 20,
        "sk-" + "a" * 48,
        "nvapi-" + "a" * 60,
        "AKIAABCDEFGHIJKLMNOP",
        "ASIAABCDEFGHIJKLMNOP",
        "AIza" + "a" * 35,
        "xoxb-1234567890-" + "a" * 24,
        "xoxp-1234567890-" + "a" * 24,
        "pypi-" + "a" * 60,
        "npm_" + "a" * 36,
        "dckr_pat_" + "a" * 27,
        JWT,
    ],
)
def test_tokens_are_not_written(secret: str) -> None:
    assert written(f"token {secret}!") == "token <token>!"
    assert secret[8:] not in written(f"pip --index-url https://x/{secret}/simple")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:pw@host/simple", "https://<credentials>@host/simple"),
        ("https://user:p@w@host/simple", "https://<credentials>@host/simple"),
        ("https://user:p/w@host/simple", "https://<credentials>@host/simple"),
        ("git+https://github.com/a/b@v1.0", "git+https://github.com/a/b@v1.0"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer <token>"),
        ("https://h/s?token=abcdefgh&x=1", "https://h/s?token=<secret>&x=1"),
        ("HF_TOKEN=abcdefgh PASSWORD=s3cr3tpw", "HF_TOKEN=<secret> PASSWORD=<secret>"),
        ("DefaultEndpoints;AccountKey=abcdef/+==;x", "DefaultEndpoints;AccountKey=<secret>;x"),
        ("tokenizers==0.20.1", "tokenizers==0.20.1"),
        ("Requires-Dist: tokenizers>=0.21,<1", "Requires-Dist: tokenizers>=0.21,<1"),
        ("sha256:" + "0a" * 32, "sha256:" + "0a" * 32),
        (
            "a -----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY----- b",
            "a <private key> b",
        ),
    ],
)
def test_credentials_are_not_written(text: str, expected: str) -> None:
    assert written(text) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab/~é <"), inner),
    )
)
def test_keys_and_shape_survive_redaction(value: object) -> None:
    def keys(node: object) -> object:
        if isinstance(node, dict):
            return {key: keys(item) for key, item in node.items()}
        return [keys(item) for item in node] if isinstance(node, list) else type(node)

    assert keys(Filter(ANN).values(value)) == keys(value)


def test_keys_that_look_like_secrets_stay_keys() -> None:
    key = "/home/ann hf_abcdefghijklmnopqrst"
    assert Filter(ANN).values({key: "/home/ann"}) == {key: "~"}


OBEYED = [*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F)]
OBEYED += [*range(0x2066, 0x206A), 0x061C, 0x200E, 0x200F, *range(0xD800, 0xE000)]
ANYTHING = st.text(
    st.characters() | st.sampled_from("\x1b[]/:;@~-\x07\\m") | st.sampled_from([*map(chr, OBEYED)])
)


@given(ANYTHING)
@example("\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;http://x\x1b\\link \x9b31m \u202e \udce4")
def test_nothing_is_left_that_a_terminal_obeys_or_that_cannot_be_encoded(text: str) -> None:
    one = Filter(ANN)
    for shown in (one.text(text), one.line(text), *one.values({text: 1})):
        assert not {ord(character) for character in shown} & set(OBEYED)
        shown.encode()
    assert "\n" not in one.line(text)


@example("TOKEN=000\x1f")
@given(ANYTHING | st.from_regex(r"/(home|Users)/[a-z.@]+/x|https?://[a-z:@/]+|token=\w+"))
def test_what_is_filtered_is_filtered(text: str) -> None:
    once = Filter(ANN).text(text)
    assert Filter(ANN).text(once) == once


def test_colours_go_whole_and_bytes_are_shown() -> None:
    one = Filter(ANN)
    assert one.text("\x1b[1;31mred\x1b[0m") == "red"
    assert one.text("a\x1b]0;title\x07b \x1b]8;;http://x\x1b\\c") == "ab c"
    assert one.text("end\r\nof line\tkept") == "end\nof line\tkept"
    assert one.text(os.fsdecode(b"/srv/env-\xe4")) == "/srv/env-\\xe4"


# --- the program ---

HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b31m\u202e\x7f"


def clean(*texts: str) -> None:
    for text in texts:
        assert not {ord(one) for one in text} & set(OBEYED), text


@pytest.fixture
def hostile_facts(tmp_path: Path) -> Path:
    """Recorded facts whose texts are full of what a terminal obeys (synthetic)."""
    library = ResolvedLibrary(
        soname=f"lib{HOSTILE}.so", path=f"/x/{HOSTILE}", rule="RPATH", directory=HOSTILE
    )
    fact = LibraryResolution(root=f"/env/{HOSTILE}", libraries=(library,), import_error=HOSTILE)
    snapshot = Snapshot({LibraryResolution: Observed(value=fact, source=HOSTILE)})
    path = tmp_path / "facts.json"
    path.write_bytes(msgspec.json.encode(facts_document(snapshot)))
    return path


@pytest.mark.parametrize(
    "arguments",
    [("libs",), ("libs", f"lib{HOSTILE}"), ("libs", "--json"), ("check", "--json"), ("prescribe",)],
)
def test_no_command_writes_what_a_terminal_obeys(
    hostile_facts: Path, arguments: tuple[str, ...]
) -> None:
    run = envdoctor(*arguments, "--facts", hostile_facts)
    assert run.stdout
    clean(run.stdout, run.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--only", HOSTILE),
        ("check", "--facts", HOSTILE),
        ("check", "--json", "--facts", f"/{HOSTILE}"),
        ("fits", f"torch=={HOSTILE}"),
        ("predict", HOSTILE),
        (HOSTILE,),
        ("rule", HOSTILE),
    ],
)
def test_no_error_does_either(arguments: tuple[str, ...]) -> None:
    run = envdoctor(*arguments)
    assert run.exit_code == 2
    assert len(run.stderr.splitlines()) == 1
    clean(run.stdout, run.stderr)


def test_names_that_are_no_text_are_shown_and_examined(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"env-\xe4")
    patient = empty_patient(root)
    fake_torch(patient, "raise OSError('no')")
    target = ("--python", root)
    env = {"CUDA_HOME": os.fsdecode(b"/\xff"), "LC_ALL": "C.UTF-8"}
    document = envdoctor("check", "--json", *target, env=env)
    validator().validate(document.json)
    assert document.json["target"]["path"].endswith("/env-\\xe4/bin/python")
    assert document.json["facts"]["Environment"]["value"]["variables"]["CUDA_HOME"] == "/\\xff"
    for arguments in (("check",), ("check", "--format", "markdown"), ("libs",), ("prescribe",)):
        run = envdoctor(*arguments, *target, env=env)
        assert run.exit_code in (0, 1), run.stderr
        assert run.no_traceback
    facts = root / "facts.json"
    assert envdoctor("collect", *target, "-o", facts, env=env).exit_code == 0
    again = envdoctor("check", "--json", "--facts", facts, env=env)
    assert [one["id"] for one in again.json["findings"]] == [
        one["id"] for one in document.json["findings"]
    ]


def test_what_is_said_on_the_way_is_filtered(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = {"HOME": str(home)}
    wrong = envdoctor("check", "--facts", home / "none", env=env)
    assert wrong.stderr == "envdoctor: cannot read `~/none`: No such file or directory\n"
    file = home / "r.json"
    run = envdoctor("check", "--static", "--python", sys.executable, "-o", file, env=env)
    assert run.stderr.endswith(", written to ~/r.json\n")


def test_colour_comes_after_the_filter(hostile_facts: Path) -> None:
    """In a real terminal, the kind that `script` makes."""
    command = f"{sys.executable} -m envdoctor libs --facts {hostile_facts}"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "TERM": "xterm"},
    )
    assert "\x1b[1;31m" in done.stdout
    rest = done.stdout.replace("\x1b[1;31m", "").replace("\x1b[0m", "").replace("\r", "")
    clean(rest.replace("\x1b[K", ""))


def test_json_of_hostile_facts_is_json(hostile_facts: Path) -> None:
    document = json.loads(envdoctor("libs", "--json", "--facts", hostile_facts).stdout)
    assert unescaped(document["import_error"]) == HOSTILE
