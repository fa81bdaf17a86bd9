"""Everything that reads what others wrote, as a function of bytes, with a small corpus to change.

A parser may refuse what it is given by the exceptions that it documents, and by no other.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envdoctor.calibration.runner import _Heard
from envdoctor.errors import BadInput
from envdoctor.facts import Fact
from envdoctor.facts.documents import read_snapshot
from envdoctor.facts.python import Distributions
from envdoctor.fits import fit
from envdoctor.knowledge import Knowledge
from envdoctor.knowledge.arch import covers
from envdoctor.knowledge.drivers import release_key
from envdoctor.knowledge.names import identify
from envdoctor.loader.elf import Foreign, Unreadable, read_elf, read_symbols
from envdoctor.loader.ldcache import BadCache, read_cache
from envdoctor.probes.boundary import Undecodable, json_object, stage_record
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.distributions import read_distributions
from envdoctor.probes.driver_api import facts_of_nvml
from envdoctor.probes.fatbin import common_targets
from envdoctor.probes.record_child import differences, recorded
from envdoctor.probes.run import Children
from envdoctor.probes.sections import read_section
from envdoctor.probes.stage import StageResult
from envdoctor.probes.torch_build import read_torch_build
from envdoctor.probes.torch_stages import TARGET_PROBES
from envdoctor.versions import decode_cuda, decode_cudnn, readable

CORPUS = Path(__file__).with_name("corpus")
HANG_S = 2.0


@dataclass(frozen=True)
class Parser:
    """`read` is tried on changed `seeds`; `words` are put into them."""

    read: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = ()
    words: tuple[bytes, ...] = ()


class Files:
    """A folder in memory, where there is one, for parsers that read files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path


JSON_WORDS = (
    *(b"null", b"true", b"[]", b"{}", b'""', b"-1", b"0.5", b"1e999", b"NaN", b"9" * 25, b"[[[["),
    *(b'"\\udce9"', b'"\xe4"', b'"\\u0000"', b'"a":', b",", b"}", b'"type":"Observed"', b"\x00"),
)
TEXT_WORDS = (
    *(
        b"\xff",
        "²".encode(),
        "٣".encode(),
        b"9" * 400,
        b"\x00",
        b"\n",
        b"\r",
        b",",
        b'"',
        b"==",
        b"+cu126",
    ),
    *(
        b"1.",
        b".*",
        b"!",
        b"-",
        b" ",
        b"\xf0\x9f\x98\x80",
        b"\xed\xb3\xa9",
        b"torch",
        b"cuda",
        b"gpu",
        b"(",
    ),
)
STAGES = (
    b'{"stage": "import torch", "event": "end", "seconds": 1.5, "data": {"file": "/x/torch/__init__'
    b'.py", "version": "2.6.0", "import_seconds": 1.5, "shadowed": []}}',
    b'{"stage": "import torch", "event": "raised", "seconds": 1, "data": {"exception": "OSError", '
    b'"message": "x", "cause": "", "frames": [{"file": "a", "line": 3, "function": "f"}], '
    b'"exits": false, "exit_code": null, "shadowed": ["random (/x/random.py)"]}}',
    b'{"stage": "torch runtime", "event": "end", "seconds": 1.0, "data": {"version": "2.6.0", '
    b'"cuda": "12.6", "hip": null, "cuda_available": true, "device_count": 1, "devices": [{"index":'
    b' 0, "name": "A100", "compute_capability": "8.0", "memory_bytes": 1, "uuid": null}], '
    b'"cudnn_version": 90100, "nccl_version": "2.21.5", "arch_list": ["sm_80"]}}',
    b'{"stage": "first use", "event": "end", "seconds": 1.0, "data": {"operations": [{"device": '
    b'"cpu", "operation": "matmul", "error": null, "seconds": 0.1}]}}',
    b'{"stage": "import torchvision", "event": "end", "data": {"installed": true, "version": "1"}}',
)
NVML = (
    b'{"status": "ok", "message": "", "driver_release": "535.183.01", "driver_cuda": "12.2", '
    b'"device_count": 1, "unanswered": [{"index": 1, "error": "NVML_ERROR_GPU_IS_LOST"}], "gpus": '
    b'[{"index": 0, "name": "A100", "uuid": "GPU-0", "compute_capability": "8.0", "memory_bytes": '
    b'1, "power_w": 0.5, "throttle_reasons": ["GpuIdle"], "process_pids": [1]}], "library": "/x"}',
    b'{"status": "NVML_ERROR_LIBRARY_NOT_FOUND", "refusal": "/x/libnvidia-ml.so.1: file too short",'
    b' "library": null}',
)
FACTS = (
    b'{"type": "facts", "schema_version": 2, "tool": {"type": "Tool", "name": "x", "version": "1"},'
    b' "captured_at": "x", "facts": {"Nvml": {"type": "Observed", "value": {"type": "Nvml", '
    b'"status": "ok", "driver_release": "1.2"}, "source": "x", "seconds": 0.1}, "Gpus": {"type": '
    b'"Unknown", "reason": "crashed", "detail": "x"}}}',
    b'{"schema_version": 1, "facts": {"Gpus": {"type": "Unknown", "reason": "not-run"}}}',
)
WORKER = (
    b'{"event": "progress", "data": {"phase": "cpu", "message": "m", "fraction": 0.5}}\n'
    b'{"event": "conditions", "data": {"torch_version": "2.6", "threads": 4}}\n'
    b'{"event": "left_out", "data": {"device": "cpu", "reason": "r"}}\n'
    b'{"event": "fatal", "data": {"reason": "no torch"}}\n{"event": "end", "data": {}}\n',
)


def parsers(folder: Path, knowledge: Knowledge, kinds: tuple[type[Fact], ...]) -> dict[str, Parser]:
    """Every parser by its name; `folder` is for files."""
    files, context = Files(folder), context_of(Children(), root=folder)
    tiny, cache = ((CORPUS / name).read_bytes() for name in ("tiny.so.bin", "ld.so.cache.bin"))
    texts = (b"torch==2.6.0 cuda==12.4 on RTX 4090 driver 550", b"python 3.12 glibc 2.35 gcc 13")
    names = (b"NVIDIA GeForce RTX 4090 Laptop GPU", b"GRID A100-7-40C", b"Tesla V100-SXM2-16GB")
    return {
        "elf": Parser(lambda data: _elf(files.put("x.so", data)), (tiny,), (Unreadable, Foreign)),
        "fatbin": Parser(lambda data: _fatbin(files.put("x.so", data)), (tiny,)),
        "ld.so.cache": Parser(
            lambda data: read_cache(str(files.put("cache", data)), 62).__dict__,
            (cache,),
            (BadCache,),
        ),
        "metadata": Parser(
            lambda data: _metadata(files, data),
            (
                b"Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0\nRequires-Dist: numpy<2; "
                b"python_version < '3.9'\nRequires-Python: >=3.8\n\nText\n",
            ),
            words=TEXT_WORDS,
        ),
        "RECORD": Parser(
            lambda data: _record(files, data),
            (b'torch/a.py,sha256=abc,5\n"b,c.py",,\n../bin/x,,3\nx-1.dist-info/RECORD,,\n',),
            words=TEXT_WORDS,
        ),
        "facts": Parser(
            lambda data: read_snapshot(str(files.put("facts.json", data)), kinds),
            FACTS,
            (BadInput,),
            JSON_WORDS,
        ),
        "stage records": Parser(_stages, STAGES, (Undecodable,), JSON_WORDS),
        "NVML": Parser(lambda data: _nvml(data, context), NVML, (Undecodable,), JSON_WORDS),
        "calibration": Parser(_worker, WORKER, words=JSON_WORDS),
        "version.py": Parser(
            lambda data: _version_file(files, data, knowledge),
            (b"__version__ = '2.6.0+cu124'\ndebug = False\ncuda: str = '12.4'\nhip = None\n",),
            words=(*TEXT_WORDS, b"= (", b"'''", b"\t", b"lambda: ", b"-" * 300, b"(" * 300),
        ),
        "versions": Parser(
            _versions, (b"2.6.0+cu124", b"535.183.01", b"8.6", b"2004d-x", b"12040"), (), TEXT_WORDS
        ),
        "fits": Parser(lambda data: fit(_text(data), knowledge), texts, (BadInput,), TEXT_WORDS),
        "GPU names": Parser(
            lambda data: identify(_text(data), knowledge.gpus_file), names, (), TEXT_WORDS
        ),
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _elf(path: Path) -> None:
    read_symbols(read_elf(str(path)))


def _fatbin(path: Path) -> None:
    common_targets(path)
    read_section(path, ".comment")


def _metadata(files: Files, data: bytes) -> None:
    files.put("torch-1.dist-info/METADATA", data)
    read_distributions([files.folder])


def _version_file(files: Files, data: bytes, knowledge: Knowledge) -> None:
    path = files.put("torch/version.py", data)
    read_torch_build(path.parent, Distributions(items=()), knowledge.libraries)


def _record(files: Files, data: bytes) -> None:
    path = files.put("torch-1.dist-info/RECORD", data)
    list(differences(str(files.folder), recorded(str(path))))


def _stages(data: bytes) -> None:
    record = stage_record(data)
    told = StageResult(
        stage=record.stage,
        state="ok" if record.event == "end" else "exception",
        data=record.data,
        seconds=record.seconds,
    )
    for probe in TARGET_PROBES:
        assert probe.decode is not None
        probe.decode(MappingProxyType({stage.name: told for stage in probe.stages}))


def _nvml(data: bytes, context: Context) -> None:
    facts_of_nvml(json_object(data), context)


def _worker(data: bytes) -> None:
    heard = _Heard(on_progress=lambda progress: None)
    for line in data.split(b"\n"):
        heard.take_line(line)


def _versions(data: bytes) -> None:
    text = _text(data)
    readable(text)
    release_key(text)
    covers((text, "sm_80"), "8.0", torch=text, cuda=text)
    number = int.from_bytes(data[:8], "little", signed=True)
    decode_cuda(number)
    decode_cudnn(number)


def changed(parser: Parser, random_: random.Random) -> bytes:
    """A seed with some things cut, copied, flipped or put in."""
    data = bytearray(random_.choice(parser.seeds))
    for _ in range(random_.choice((1, 1, 2, 3, 8))):
        at, way = random_.randrange(len(data) + 1), random_.randrange(6)
        if way == 0 and data:
            data[min(at, len(data) - 1)] = random_.choice(
                (0, 1, 127, 128, 255, random_.randrange(256))
            )
        elif way == 1:
            del data[at : at + random_.choice((1, 2, 8, 100))]
        elif way == 2:
            data[at:at] = data[random_.randrange(len(data) + 1) :][: random_.choice((1, 8, 100))]
        elif way == 3 and parser.words:
            end = at + random_.choice((0, 0, 1, 4))
            data[at:end] = random_.choice(parser.words)
        elif way == 4:
            data[at : at + 8] = random_.randrange(2**64).to_bytes(8, "little")
        elif random_.random() < 0.1:
            del data[at:]
    return bytes(data)


def failures(name: str, parser: Parser, seeds: range) -> Iterator[str]:
    """What a parser did that it may not: the seed, the input and the exception."""
    for seed in seeds:
        data = changed(parser, random.Random(seed))
        began = time.perf_counter()
        try:
            parser.read(data)
        except parser.refuses:
            pass
        except Exception as error:
            yield f"{name} {seed}: {type(error).__name__}: {error!s:.200} of {data[:300]!r}"
        if time.perf_counter() - began > HANG_S:
            yield f"{name} {seed}: it took {time.perf_counter() - began:.1f} s, of {data[:300]!r}"
