"""What a target leaves behind may be anything: the probe looks at it, and never fails for it."""

import os
from pathlib import Path

import pytest

from envdoctor.facts import Observed
from envdoctor.facts.torch import TorchImport
from envdoctor.probes.built_in_stages import IMPORT
from envdoctor.probes.context import context_of
from envdoctor.probes.run import Children
from envdoctor.probes.stage import EXIT, Stage, StageResult
from envdoctor.probes.staging import run_stages
from envdoctor.probes.torch_stages import decode_import
from tests.support.patients import empty_patient, fake_torch

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"

ODD = {
    "lazy modules": """
class Lazy(types.ModuleType):
    def __getattr__(self, name): raise SystemExit('looked at')
sys.modules['ast'] = Lazy('ast')
""",
    "keys that are no text": "sys.modules[3] = sys.modules[(1,)] = sys.modules[None] = sys",
    "keys that compare to nothing": """
class Key(str):
    def __eq__(self, other): raise RuntimeError('compared')
    __hash__ = str.__hash__
sys.modules[Key('zlib')] = sys
""",
    "a file of bytes": "sys.modules['ast'] = m = types.ModuleType('ast'); m.__file__ = b'/ast.py'",
    "a file with a null": "sys.modules['ast'] = m = types.ModuleType('ast'); m.__file__ = '/a\\0b'",
    "a number as a file": "sys.modules['ast'] = m = types.ModuleType('ast'); m.__file__ = 7",
    "modules that are none": "sys.modules.update(ast=None, cgi=7, csv='csv', dis=object())",
    "no arguments": "sys.argv = []; sys.path = None",
    "a version that raises": """
class Torch(types.ModuleType):
    @property
    def __version__(self): raise ValueError('ask later')
sys.modules[__name__].__class__ = Torch
""",
    "a version without a text": """
class Version:
    def __str__(self): raise KeyboardInterrupt
__version__ = Version()
""",
    "a file that is a property": """
class Torch(types.ModuleType):
    @property
    def __file__(self): raise OSError('gone')
sys.modules[__name__].__class__ = Torch
""",
    "another object": """
class Torch:
    __file__ = __file__
    def __getattribute__(self, name): raise GeneratorExit
sys.modules[__name__] = Torch()
""",
    "a closed standard error": "import os; os.close(2); sys.stderr = sys.stdout = None",
    "a folder that is gone": """
import os, tempfile
os.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd())
sys.modules['ast'] = m = types.ModuleType('ast'); m.__file__ = 'ast.py'
""",
}


def results_of(
    children: Children, tmp_path: Path, init: str, *stages: Stage
) -> dict[str, StageResult]:
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, f"import sys, types\n{init}\n")
    return run_stages(str(patient.python), stages, run=context_of(children).run)


@pytest.mark.parametrize("odd", ODD)
def test_what_a_torch_leaves_behind_is_no_failed_import(
    children: Children, tmp_path: Path, odd: str
) -> None:
    found = results_of(children, tmp_path, ODD[odd], IMPORT)
    assert found[IMPORT.name].state == "ok", found[IMPORT.name].detail
    fact = decode_import(found)[TorchImport]
    assert isinstance(fact, Observed)
    assert fact.value.outcome == "ok"


@pytest.mark.parametrize("odd", ODD)
def test_an_import_that_fails_is_told_whatever_it_leaves_behind(
    children: Children, tmp_path: Path, odd: str
) -> None:
    found = results_of(children, tmp_path, f"{ODD[odd]}\nraise ImportError('libfoo.so')", IMPORT)
    result = found[IMPORT.name]
    assert (result.state, result.detail) == ("exception", "ImportError: libfoo.so")


ERRORS = {
    "its text raises": "class E(Exception):\n    def __str__(self): raise SystemExit(0)",
    "its cause raises": "class E(Exception):\n    __cause__ = property(lambda self: 1 / 0)",
    "its text is no text": "class E(Exception):\n    def __str__(self): return 7",
    "its module is none": "class E(Exception):\n    __module__ = None",
    "its type has no name": """
class Kind(type):
    __qualname__ = property(lambda cls: 1 / 0)
    __name__ = property(lambda cls: 1 / 0)
class E(Exception, metaclass=Kind): pass
""",
    "its text has what is no Unicode": """
class E(Exception):
    def __str__(self): return 'caf\\udce9 \\U0001f600 \\x00\\x1b"\\\\' + 'x' * 100000
""",
    "its cause has no text": """
class E(Exception):
    def __init__(self):
        class Cause(Exception):
            def __str__(self): raise GeneratorExit
        self.__cause__ = Cause()
""",
    "it ends the interpreter with a number that is too large": """
class E(SystemExit):
    def __init__(self): self.code = 10 ** 6000 + 3
""",
}


@pytest.mark.parametrize("error", ERRORS)
def test_an_odd_exception_is_told(children: Children, tmp_path: Path, error: str) -> None:
    found = results_of(children, tmp_path, f"{ERRORS[error]}\nraise E()", IMPORT)
    result = found[IMPORT.name]
    assert result.state in ("exception", "exit")
    assert "E" in str(result.data["exception"])
    assert found[EXIT].state == "ok"
    assert isinstance(decode_import(found)[TorchImport], Observed)


def test_a_defect_of_a_look_is_none_of_the_target(children: Children, tmp_path: Path) -> None:
    source = tmp_path / "look.py"
    source.write_text(
        "def stage(child):\n"
        "    import torch\n"
        "    return child.look(lambda: {'version': torch.no_such_thing})\n"
    )
    stage = Stage(name="look", source=source, function="stage")
    found = results_of(children, tmp_path, "", stage)
    assert (found["look"].state, found["look"].data["exception"]) == ("unable", "AttributeError")


VALUES = """
def stage(child):
    class Text(str):
        def __str__(self): return 'no'
        def __iter__(self): raise RuntimeError
        def isascii(self): raise RuntimeError
    deep = []
    for _ in range(100): deep = [deep]
    return {
        'null': None, 'yes': True, 'no': False, 'one': 1, 'half': 0.5, 'tiny': 5e-324,
        'text': Text('caf\\xe9 \\u20ac \\U0001f600 \\udce9 "\\\\ \\n\\x00\\x7f'),
        'list': (1, [2]), 'map': {'a': {}}, 3: 'three', False: 'never',
        'large': 2 ** 70, 'nan': float('nan'), 'infinite': float('inf'),
        'set': {1}, 'bytes': b'x', 'object': object(), 'type': Text, 'deep': str(deep)[:3],
    }
"""


@pytest.mark.parametrize("version", ["own", "3.8", "3.9", "3.10", "3.12", "3.13", "3.14", "pypy3"])
def test_what_a_stage_gives_arrives_as_it_was(
    children: Children, tmp_path: Path, version: str
) -> None:
    names = f"pypy3*/bin/{version}" if version == "pypy3" else f"{version}.*/bin/python{version}"
    own = empty_patient(tmp_path / "venv").python
    found = [own] if version == "own" else sorted(PYENV.glob(names))
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    source = tmp_path / "caf\udce9 'stage'.py"
    source.write_text(VALUES, encoding="utf-8")
    stage = Stage(name='né "stage"', source=source, function="stage")
    told = run_stages(str(found[0]), [stage], run=context_of(children).run)[stage.name]
    assert told.state == "ok", told.detail
    assert told.data == {
        "null": None,
        "yes": True,
        "no": False,
        "one": 1,
        "half": 0.5,
        "tiny": 5e-324,
        "text": 'caf\xe9 € \U0001f600 \udce9 "\\ \n\x00\x7f',
        "list": [1, [2]],
        "map": {"a": {}},
        "3": "three",
        "false": "never",
        "large": "int",
        "nan": "float",
        "infinite": "float",
        "set": "set",
        "bytes": "bytes",
        "object": "object",
        "type": "type",
        "deep": "[[[",
    }


def test_the_target_imports_for_itself_what_the_probe_needs(
    children: Children, tmp_path: Path
) -> None:
    """Nothing that the probe imports is imported twice, or found by the target as if it had."""
    init = "__version__ = ' '.join(sorted(set(sys.modules) & {'json', 're', 'enum', 'signal'}))"
    found = results_of(children, tmp_path, init, IMPORT)
    assert found[IMPORT.name].data["version"] is None
