"""Everything that reads what others wrote, as a function of bytes."""

from pathlib import Path
from types import MappingProxyType

import msgspec

from envdoctor.calibration.baseline import read_baseline
from envdoctor.calibration.runner import _Heard
from envdoctor.calibration.telemetry import Sampler, summarise
from envdoctor.collective.runner import _Heard as _HeardOfAJob
from envdoctor.controls import without_controls
from envdoctor.errors import BadInput
from envdoctor.facts import Fact
from envdoctor.facts.collective import CollectiveSettings
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
from envdoctor.redaction import Filter
from envdoctor.redaction.identity import Person
from envdoctor.versions import decode_cuda, decode_cudnn, readable
from tests.boundary.judged import judged
from tests.boundary.machine_parsers import machine_parsers
from tests.boundary.parser import Files, Parser
from tests.boundary.words import (
    BASELINE,
    FACTS,
    JOB,
    JSON_WORDS,
    NVML,
    SAMPLES,
    SECRET_WORDS,
    STAGES,
    TEXT_WORDS,
    TEXTS,
    WORKER,
)

CORPUS = Path(__file__).with_name("corpus")


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
        "collective": Parser(_job, JOB, words=JSON_WORDS),
        "version.py": Parser(
            lambda data: _version_file(files, data, knowledge),
            (b"__version__ = '2.6.0+cu124'\ndebug = False\ncuda: str = '12.4'\nhip = None\n",),
            words=(*TEXT_WORDS, b"= (", b"'''", b"\t", b"lambda: ", b"-" * 300, b"(" * 300),
        ),
        "versions": Parser(
            _versions, (b"2.6.0+cu124", b"535.183.01", b"8.6", b"2004d-x", b"12040"), (), TEXT_WORDS
        ),
        "NVML samples": Parser(_samples, SAMPLES, words=JSON_WORDS),
        "baseline": Parser(
            lambda data: read_baseline(str(files.put("baseline.json", data)), kinds),
            BASELINE,
            (BadInput,),
            JSON_WORDS,
        ),
        "redaction": Parser(_redacted, TEXTS, words=(*TEXT_WORDS, *SECRET_WORDS)),
        "judged texts": Parser(judged, TEXTS, words=(*TEXT_WORDS, *SECRET_WORDS)),
        "fits": Parser(lambda data: fit(_text(data), knowledge), texts, (BadInput,), TEXT_WORDS),
        "GPU names": Parser(
            lambda data: identify(_text(data), knowledge.gpus_file), names, (), TEXT_WORDS
        ),
        **machine_parsers(folder / "machine"),
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


def _job(data: bytes) -> None:
    heard = _HeardOfAJob(settings=CollectiveSettings(), on_step=lambda what: None, step_s=1.0)
    for line in data.split(b"\n"):
        heard.take_line(line)
    tried = heard.collective("", (), 1.0)
    assert tried.in_one_line or not any(one.has_failed for one in tried.ranks)
    assert b"null" not in msgspec.json.encode([one.seconds for one in tried.ranks])


def _samples(data: bytes) -> None:
    sampler = Sampler(Children())
    for line in data.split(b"\n"):
        sampler.take_line(line)
    assert len(sampler.newest) <= len(sampler.samples)
    summarise(sampler.samples, (0.0, 9.0), None)


def _redacted(data: bytes) -> None:
    person = Person(homes=("/home/ann",), users={"USER": "ann"}, host="gpu-box-7")
    shown = Filter(person).values({"text": _text(data), "commands": [_text(data)]})
    for text in (shown["text"], *shown["commands"]):
        assert without_controls(text) == text
        text.encode()


def _versions(data: bytes) -> None:
    text = _text(data)
    readable(text)
    release_key(text)
    covers((text, "sm_80"), "8.0", torch=text, cuda=text)
    number = int.from_bytes(data[:8], "little", signed=True)
    decode_cuda(number)
    decode_cudnn(number)
