"""The refresh: little is read of a wheel, and what differs is shown."""

import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator

import pytest

from envdoctor.knowledge import load
from envdoctor.knowledge.refresh import (
    about_the_list,
    differences,
    gpu_requirements,
    main,
    wheel_of,
)
from envdoctor.knowledge.remote import (
    MAX_BYTES,
    Metadata,
    RangedFile,
    TooMuch,
    configured_index,
    files_of,
    metadata_of,
)

KNOWLEDGE = load()
NAME = "torch-2.6.0-cp311-cp311-manylinux1_x86_64.whl"
LOCAL = "torch-2.6.0.dist-info/METADATA"


def _wheel(requires: dict[str, str], size: int = 3 * MAX_BYTES) -> bytes:
    lines = [f"Requires-Dist: {name}{pin}" for name, pin in requires.items()]
    body = "\n".join(["Metadata-Version: 2.1", "Name: torch", "Version: 2.6.0", *lines]) + "\n\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("torch/lib/libtorch_cuda.so", hashlib.sha256(b"x").digest() * (size // 32))
        archive.writestr(LOCAL, body, compress_type=zipfile.ZIP_DEFLATED)
    return stream.getvalue()


class _Handler(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes]
    ranges = True

    def do_GET(self) -> None:
        body = self.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        span = self.headers.get("Range")
        if span and self.ranges:
            first, _, last = span.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, len(body) - int(last))
            end = int(last) + 1 if first and last else len(body)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            body = body[start:end]
        else:
            self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def index() -> Iterator[tuple[str, type[_Handler]]]:
    """A real index on this machine: `files` are its answers by path."""
    handler = type("Handler", (_Handler,), {"files": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple", handler
    server.shutdown()
    server.server_close()


def _publish(handler: type[_Handler], wheel: bytes, **entry: object) -> None:
    listing = {"files": [{"filename": NAME, "url": f"../../{NAME}", **entry}]}
    handler.files["/simple/torch/"] = json.dumps(listing).encode()
    handler.files[f"/{NAME}"] = wheel


def _pins() -> dict[str, str]:
    variant = KNOWLEDGE.variant("2.6.0", "cu124")
    assert variant is not None
    return variant.requires


def test_of_a_large_wheel_little_is_read(index: tuple[str, type[_Handler]]) -> None:
    url, handler = index
    wheel = _wheel({"numpy": ">=1"})
    _publish(handler, wheel)
    metadata = metadata_of(files_of("torch", url)[0])
    assert metadata.requires == ("numpy>=1",)
    assert metadata.by == "range"
    assert 0 < metadata.bytes_read < MAX_BYTES < len(wheel)


def test_metadata_beside_the_wheel_is_preferred(index: tuple[str, type[_Handler]]) -> None:
    url, handler = index
    _publish(handler, b"not a wheel", **{"core-metadata": {"sha256": "x"}})
    handler.files[f"/{NAME}.metadata"] = b"Metadata-Version: 2.1\nRequires-Dist: triton==3.2.0\n"
    metadata = metadata_of(files_of("torch", url)[0])
    assert (metadata.by, metadata.requires) == ("PEP 658", ("triton==3.2.0",))


def test_more_than_the_limit_is_never_read(index: tuple[str, type[_Handler]]) -> None:
    url, handler = index
    _publish(handler, _wheel({}))
    remote = RangedFile(files_of("torch", url)[0].url)
    with pytest.raises(TooMuch):
        remote.read()
    assert remote.bytes_read < MAX_BYTES


def test_a_server_without_ranges_is_refused(index: tuple[str, type[_Handler]]) -> None:
    url, handler = index
    handler.ranges = False
    _publish(handler, _wheel({}, size=1024))
    with pytest.raises(OSError, match="ranges"):
        metadata_of(files_of("torch", url)[0])


def test_no_difference_where_the_pins_agree() -> None:
    release = KNOWLEDGE.release("2.6.0")
    assert release is not None
    assert not list(differences(release, _metadata(_pins()), KNOWLEDGE))


@pytest.mark.parametrize(
    ("changes", "fact", "said"),
    [
        ({"nvidia-cudnn-cu12": "==9.9.9"}, "requires nvidia-cudnn-cu12", "==9.9.9"),
        ({"nvidia-new-cu12": "==1.0"}, "requires nvidia-new-cu12", "==1.0"),
        ({"triton": None}, "requires triton", "not required"),
    ],
)
def test_a_changed_pin_is_shown(changes: dict[str, str | None], fact: str, said: str) -> None:
    release = KNOWLEDGE.release("2.6.0")
    assert release is not None
    pins = {name: pin for name, pin in {**_pins(), **changes}.items() if pin}
    found = list(differences(release, _metadata(pins), KNOWLEDGE))
    assert [(one.fact, one.index) for one in found] == [(fact, said)]


def _metadata(pins: dict[str, str]) -> Metadata:
    requires = tuple(f"{name}{pin} ; platform_system == 'Linux'" for name, pin in pins.items())
    return Metadata(filename=NAME, requires=requires, requires_python=None, bytes_read=1, by="test")


def test_only_requirements_on_the_gpu_stack_are_compared() -> None:
    requires = ("numpy", "nvidia-nccl-cu12==2.21.5; extra == 'x'", "triton==3.2.0", "filelock")
    assert list(gpu_requirements(requires)) == [("triton", "==3.2.0")]


def test_a_release_that_the_data_lacks_is_shown(
    index: tuple[str, type[_Handler]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, handler = index
    _publish(handler, _wheel(_pins()))
    newer = {"filename": NAME.replace("2.6.0", "9.9.0"), "url": "x"}
    listing = json.loads(handler.files["/simple/torch/"])
    handler.files["/simple/torch/"] = json.dumps({"files": [*listing["files"], newer]}).encode()
    found = [
        one for one in about_the_list(files_of("torch", url), KNOWLEDGE) if one.torch == "9.9.0"
    ]
    assert [(one.fact, one.index) for one in found] == [("release", "published")]
    assert main(["2.6.0", "--index", url]) == 1
    assert "9.9.0: release: index published" in capsys.readouterr().out


def test_an_index_that_does_not_answer_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--index", "http://127.0.0.1:9/simple"]) == 2
    assert "refresh:" in capsys.readouterr().err


REAL = (
    "1.13.0", "2.0.0", "2.1.0", "2.2.2", "2.3.1", "2.4.0", "2.5.1", "2.6.0", "2.7.1", "2.8.0",
    "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0", "2.14.1", "2.15.0",
)  # fmt: skip


@pytest.mark.wheels
def test_real_wheels_agree_with_the_knowledge() -> None:
    """The METADATA of wheels of 17 releases, from the configured index, at most 5 MB each."""
    files = files_of("torch", configured_index())
    read = 0
    for version in REAL:
        release, file = KNOWLEDGE.release(version), wheel_of(version, files)
        assert release is not None
        assert file is not None, version
        metadata = metadata_of(file)
        assert metadata.bytes_read <= MAX_BYTES
        assert list(differences(release, metadata, KNOWLEDGE)) == [], version
        compared = dict(gpu_requirements(metadata.requires))
        read += bool(compared)
    assert read >= 10
