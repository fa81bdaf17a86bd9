"""Every way in which a plugin can fail is a finding with its name, within its time, and nothing
else: in real runs with plugins that are installed beside the doctor."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.doctor import Run, envdoctor, names, validator
from tests.support.plugins import plugin_of, plugin_with_a_check

TARGET = ("--static", "--python", sys.executable)


def checked(env: dict[str, str]) -> Run:
    run = envdoctor("check", "--json", *TARGET, env=env, cwd=Path(env["SITE"]))
    assert run.no_traceback, run.stderr
    validator().validate(run.json)
    assert run.json["type"] == "report", run.json
    assert run.json["exit_code"] == run.exit_code
    return run


def finding(run: Run, name: str) -> dict[str, Any]:
    (found,) = [one for one in run.json["findings"] if one["name"] == name]
    return dict(found)


def heavy(*values: str) -> Any:
    """Parameters of the heavy lane: another case goes the same way."""
    return pytest.param(*values, marks=pytest.mark.heavy)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise Odd", "failed: Odd"),
        ("while True: yield ODD.finding()", "more than 1000 findings"),
        ("import os; os._exit(0)", "it ended its process with exit code 0"),
        heavy("import os; os.kill(os.getpid(), 9)", "it ended its process by SIGKILL"),
        heavy("import os; os.closerange(3, 99); yield 1 / 0", "it ended its process"),
        ("import ctypes; ctypes.string_at(0)", "it ended its process by SIGSEGV"),
        heavy("import sys; sys.exit('bye')", "SystemExit: bye"),
        heavy("f = lambda: f(); f()", "RecursionError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        heavy("import signal, os; os.kill(os.getpid(), signal.SIGTERM)", "by SIGTERM"),
        ("raise ValueError('caf\\udce9 \\x1b[31m')", "caf\\xe9"),
        ("yield 7", "it gives a int, not a Finding"),
        ("yield ODD.finding(data={'x': object()})", "failed: "),
    ],
)
def test_a_check_that_fails(tmp_path: Path, body: str, words: str) -> None:
    run = checked(plugin_with_a_check(tmp_path / "site", body))
    found = finding(run, "check-crashed")
    assert found["message"].startswith("check `odd` of plugin `odd` failed: ")
    assert words in found["message"]
    assert (found["severity"], found["breaks"]) == ("warning", [])


def test_a_check_that_is_slow_and_fine(tmp_path: Path) -> None:
    body = "import time; time.sleep(1.5); yield ODD.finding()"
    began = time.monotonic()
    run = checked(plugin_with_a_check(tmp_path / "site", body))
    assert names(run.json).count("odd") == 1
    assert "check-crashed" not in names(run.json)
    assert time.monotonic() - began >= 1.5


@pytest.mark.heavy
def test_a_check_that_does_not_end_and_one_behind_it(tmp_path: Path) -> None:
    source = (
        "from envdoctor.api import Code, Host, Plugin, Severity, check\n"
        "ODD = Code(id='XX001', name='odd', family='odd', severity=Severity.INFO, message='odd')\n"
        "@check(ODD)\n"
        "def endless(host: Host):\n"
        "    while True: pass\n"
        "@check(ODD)\n"
        "def odd(host: Host):\n"
        "    yield ODD.finding()\n"
        "plugin = Plugin(name='odd', version='1', checks=(endless, odd))\n"
    )
    run = checked(plugin_of(tmp_path / "site", source))
    assert "no answer within 10 s" in finding(run, "check-crashed")["message"]
    assert "odd" in names(run.json)


def test_threads_and_children_that_a_plugin_leaves_behind(tmp_path: Path) -> None:
    body = (
        "import threading, subprocess; threading.Thread(target=threading.Event().wait).start(); "
        "print(subprocess.Popen(['sleep', '600']).pid); yield ODD.finding()"
    )
    run = checked(plugin_with_a_check(tmp_path / "site", body))
    assert "odd" in names(run.json)
    assert not Path(f"/proc/{run.stderr.split()[0]}").exists()


HEAD = """
import os, sys, threading, time
from envdoctor.api import Code, Fact, Host, Plugin, Probe, Severity, Where, check, derive
class Own(Fact):
    number: int
class Other(Fact):
    number: int
class Odd(BaseException):
    def __str__(self): raise RuntimeError('it cannot even say what it is')
"""

DEFECTS = """
@derive(Own)
def own(host: Host):
    raise Odd
def look(): raise SystemExit(3)
plugin = Plugin(name='odd', version='1', derive=(own,), probes=(
    Probe(name='other', where=Where.HOST, provides=(Other,), static=True, observe=look),))
"""

ENDS = """
@derive(Own)
def own(host: Host):
    os._exit(0)
def look(): os.abort()
def wait(): time.sleep(600)
class Third(Fact):
    number: int
plugin = Plugin(name='odd', version='1', derive=(own,), probes=(
    Probe(name='third', where=Where.HOST, provides=(Third,), static=True, observe=wait,
          timeout_s=0.5),
    Probe(name='other', where=Where.HOST, provides=(Other,), static=True, observe=look)))
"""

GIVES = """
from envdoctor.api import Context, Observed
@derive(Own)
def own(other: Other):
    return Own(number=other.number + 1)
def look(context: Context):
    ran = context.run(["sh", "-c", "exit 6"], timeout_s=10)
    return {Other: Observed(value=Other(number=ran.exit_code), source='\\udcff')}
plugin = Plugin(name='odd', version='1', derive=(own,), probes=(
    Probe(name='other', where=Where.HOST, provides=(Other,), static=True, observe=look),))
"""

REDEFINES = """
ED201 = Code(id='ED201', name='odd', family='odd', severity=Severity.ERROR, message='odd')
@check(ED201)
def odd(host: Host):
    yield ED201.finding()
plugin = Plugin(name='odd', version='1', checks=(odd,))
"""

PRINTS = """
import atexit
print('{ not json')
sys.stdout.write('loaded')
atexit.register(print, 'at exit')
threading.Thread(target=lambda: print('thread'), daemon=True).start()
def look(): return print('probe') or {}
plugin = Plugin(name='odd', version='1', probes=(
    Probe(name='other', where=Where.HOST, provides=(Other,), static=True, observe=look),))
"""


def test_facts_that_fail(tmp_path: Path) -> None:
    run = checked(plugin_of(tmp_path / "site", HEAD + DEFECTS))
    said = {one["message"] for one in run.json["findings"] if one["name"] == "check-crashed"}
    assert said == {
        "derivation `own` of plugin `odd` failed: Odd",
        "probe `other` of plugin `odd` failed: SystemExit: 3",
    }
    assert run.json["facts"]["Own"]["reason"] == run.json["facts"]["Other"]["reason"] == "crashed"


def test_facts_whose_making_ends_its_process(tmp_path: Path) -> None:
    run = checked(plugin_of(tmp_path / "site", HEAD + ENDS))
    said = {one["message"] for one in run.json["findings"] if one["name"] == "check-crashed"}
    assert said == {
        "derivation `own` of plugin `odd` failed: it ended its process with exit code 0",
        "probe `other` of plugin `odd` failed: it ended its process by SIGABRT",
        "probe `third` of plugin `odd` failed: no answer within 0.5 s",
    }


def test_facts_that_are_made_come_whole(tmp_path: Path) -> None:
    run = checked(plugin_of(tmp_path / "site", HEAD + GIVES))
    assert run.json["facts"]["Own"]["value"] == {"type": "Own", "number": 7}
    assert run.json["facts"]["Other"]["source"] == "\\xff"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import os; os._exit(0)", "it ended its process with exit code 0"),
        heavy("import os; os.abort()", "it ended its process by SIGABRT"),
        heavy("import ctypes; ctypes.string_at(0)", "it ended its process by SIGSEGV"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class E(Exception):\n def __str__(self): raise self\nraise E", "E"),
        heavy("f = lambda: f()\nf()", "RecursionError"),
        ("from envdoctor.api import Plugin\nplugin = Plugin(name=3, version='1')", "no str"),
        ("from envdoctor.api import Plugin\nplugin = Plugin(name='core', version='1')", "`core`"),
        (
            "from envdoctor.api import Plugin\nplugin = Plugin(name='o', version='1', checks=(1,))",
            "no tuple of Check",
        ),
    ],
)
def test_an_import_that_fails(tmp_path: Path, body: str, words: str) -> None:
    found = finding(checked(plugin_of(tmp_path / "site", body)), "plugin-load-failed")
    assert "plugin `odd` of `odd-plugin` could not be loaded: " in found["message"]
    assert words in found["message"]


def test_what_a_plugin_redefines_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    env = plugin_of(tmp_path / "site", HEAD + REDEFINES)
    found = finding(checked(env), "plugin-load-failed")
    assert "`odd-plugin` could not be loaded: it redefines `ED201`" in found["message"]
    mine = envdoctor("rules", "--json", env=env, cwd=Path(env["SITE"])).json
    assert mine == envdoctor("rules", "--json").json


def test_another_distribution_whose_list_cannot_be_read(tmp_path: Path) -> None:
    env = plugin_with_a_check(tmp_path / "site", "yield ODD.finding()")
    info = tmp_path / "site" / "damaged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: damaged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(b"[console_scripts\nno = \xff\n= = =\n")
    assert "odd" in names(checked(env).json)


def test_what_is_printed_at_any_time_corrupts_no_document(tmp_path: Path) -> None:
    run = checked(plugin_of(tmp_path / "site", HEAD + PRINTS))
    assert "plugin-load-failed" not in names(run.json)


PAST_PYTHON = [
    "import os; os.write(1, b'} past')",
    heavy("import os; os.system('echo } past')"),
    heavy("import sys; sys.__stdout__.write('} past'); sys.__stdout__.flush()"),
    "import ctypes; libc = ctypes.CDLL(None); libc.puts(b'} past'); libc.fflush(None)",
    heavy("import ctypes; ctypes.PyDLL(None).write(1, b'} past', 6)"),
]


@pytest.mark.parametrize("body", PAST_PYTHON)
def test_what_is_printed_past_python_corrupts_no_document(tmp_path: Path, body: str) -> None:
    run = checked(plugin_with_a_check(tmp_path / "site", f"{body}; yield ODD.finding()"))
    assert "odd" in names(run.json)
    assert "} past" in run.stderr


@pytest.mark.parametrize(
    "body",
    [
        "print('x' * 10**7); yield ODD.finding()",
        heavy("[print('x' * 1000) for _ in range(10000)]; yield ODD.finding()"),
        "import os; os.system('yes | head -c 10000000'); yield ODD.finding()",
        heavy("import os; [os.write(1, b'x' * 4096) for _ in range(16)]; yield ODD.finding()"),
    ],
)
def test_what_is_printed_has_a_limit(tmp_path: Path, body: str) -> None:
    run = checked(plugin_with_a_check(tmp_path / "site", body))
    assert "odd" in names(run.json)
    assert "what followed was left out" in run.stderr
    assert 2**15 < len(run.stderr) < 2**18


def test_text_and_markdown_hold_nothing_of_it_either(tmp_path: Path) -> None:
    env = plugin_of(tmp_path / "site", "import os; os.write(1, b'past python')\n" + HEAD + PRINTS)
    for form in ("text", "markdown"):
        run = envdoctor("check", "--format", form, *TARGET, env=env, cwd=Path(env["SITE"]))
        assert "past python" not in run.stdout
        assert "past python" in run.stderr


@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(600)"])
def test_an_import_that_does_not_end(tmp_path: Path, body: str) -> None:
    env = plugin_of(tmp_path / "site", body)
    code = (
        "import os, sys; from envdoctor.plugin_loading import load_plugins\n"
        "loaded = load_plugins(limit_s=0.5)\n"
        "print(len(loaded.plugins), *(one.error for one in loaded.failures), flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "2 no answer within 0.5 s\n", done.stderr
