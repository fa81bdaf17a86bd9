"""The refresh: little is read of a wheel, and what differs is shown."""

import hashlib
import http.server
import io
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envdoctor.knowledge import load
from envdoctor.knowledge.base import FOLDER
from envdoctor.knowledge.kept import as_kept
from envdoctor.knowledge.refresh import MACHINES, differences, main, targets_in
from envdoctor.knowledge.refresh_lists import list_differences, listed, wheel_for
from envdoctor.knowledge.refresh_requirements import gpu_requirements
from envdoctor.knowledge.remote import (
    MAX_BYTES,
    Metadata,
    RangedFile,
    RemoteFile,
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
    known = KNOWLEDGE.variant("2.6.0", "cu124")
    assert not list(differences(known, _metadata(_pins()), "torch 2.6.0"))


@pytest.mark.parametrize(
    ("changes", "fact", "said"),
    [
        ({"nvidia-cudnn-cu12": "==9.9.9"}, "requires nvidia-cudnn-cu12", "==9.9.9"),
        ({"nvidia-new-cu12": "==1.0"}, "requires nvidia-new-cu12", "==1.0"),
        ({"triton": None}, "requires triton", "not required"),
    ],
)
def test_a_changed_pin_is_shown(changes: dict[str, str | None], fact: str, said: str) -> None:
    known = KNOWLEDGE.variant("2.6.0", "cu124")
    pins = {name: pin for name, pin in {**_pins(), **changes}.items() if pin}
    found = list(differences(known, _metadata(pins), "torch 2.6.0"))
    assert [(one.fact, one.index) for one in found] == [(fact, said)]


def _metadata(pins: dict[str, str]) -> Metadata:
    requires = tuple(f"{name}{pin} ; platform_system == 'Linux'" for name, pin in pins.items())
    return Metadata(filename=NAME, requires=requires, requires_python=None, bytes_read=1, by="test")


def test_only_requirements_on_the_gpu_stack_are_compared() -> None:
    requires = ("numpy", "nvidia-nccl-cu12==2.21.5; extra == 'x'", "triton==3.2.0", "filelock")
    assert list(gpu_requirements(requires, "x86_64")) == [("triton", "==3.2.0")]


def test_what_is_required_on_another_machine_is_not_required_on_arm() -> None:
    """As METADATA of the wheels for aarch64 has it up to 2.10, which are without CUDA."""
    requires = (
        'nvidia-cudnn-cu12==9.10.2.21; platform_system == "Linux" and platform_machine == "x86_64"',
        'triton==3.4.0; platform_system == "Linux"',
    )
    assert list(gpu_requirements(requires, "aarch64")) == [("triton", "==3.4.0")]
    assert len(list(gpu_requirements(requires, "x86_64"))) == 2


def _file(name: str, **entry: object) -> RemoteFile:
    fields: dict[str, object] = {
        "url": "x", "size": None, "upload_time": None, "yanked": False, "has_metadata": False,
    }  # fmt: skip
    return RemoteFile(filename=name, **{**fields, **entry})  # type: ignore[arg-type]


def test_a_file_list_is_read_as_the_tags_say() -> None:
    found = listed(
        [
            _file("torch-2.6.0-cp313-cp313t-manylinux_2_28_x86_64.whl"),
            _file("torch-2.6.0-cp312-cp312-manylinux_2_28_x86_64.whl"),
            _file("torch-2.6.0-cp39-none-macosx_11_0_arm64.whl"),
            _file("torch-2.6.0-cp38-abi3-win_amd64.whl"),
            _file("torch-2.6.1-1-cp312-cp312-win_amd64.whl"),
            _file("torch-2.7.0rc1-cp312-cp312-win_amd64.whl"),
            _file("torch-2.7.0-cp312-cp312-win_amd64.whl", yanked=True),
            _file("torch-2.5.0.tar.gz"),
        ]
    )
    assert found == {
        "2.5.0": {"sdist": ""},
        "2.6.0": {
            "macosx_11_0_arm64": "cp39",
            "manylinux_2_28_x86_64": "cp312 cp313t",
            "win_amd64": "cp38-abi3",
        },
        "2.6.1": {"win_amd64": "cp312"},
    }


@pytest.mark.parametrize(
    ("project", "version", "platform", "tags", "fact"),
    [
        ("torch", "2.15.0", "manylinux_2_28_aarch64", None, "wheels for manylinux_2_28_aarch64"),
        ("torch", "2.15.0", "macosx_15_0_arm64", "cp312", "wheels for macosx_15_0_arm64"),
        ("torchvision", "0.29.2", "win_amd64", "cp312", "wheels for win_amd64"),
        ("torch", "9.9.0", "win_amd64", "cp312", "release"),
        ("vllm", "0.33.0", None, None, "release"),
    ],
)
def test_a_list_that_differs_is_shown(
    project: str, version: str, platform: str | None, tags: str | None, fact: str
) -> None:
    known = next(one for one in KNOWLEDGE.wheels_file.projects if one.name == project)
    found = {name: dict(files) for name, files in known.releases.items()}
    assert not list(list_differences(project, found, KNOWLEDGE))
    if platform is None:
        del found[version]
    elif tags is None:
        del found[version][platform]
    else:
        found.setdefault(version, {})[platform] = tags
    seen = list(list_differences(project, found, KNOWLEDGE))
    assert [(one.subject, one.fact) for one in seen] == [(f"{project} {version}", fact)]


def test_the_gpu_targets_are_those_of_the_header() -> None:
    line = (
        '#define NVCC_FLAGS_EXTRA "-gencode;arch=compute_80,code=sm_80;-gencode;'
        'arch=compute_90a,code=sm_90a;-gencode;arch=compute_120,code=compute_120"'
    )
    assert targets_in(f"// x\n{line}\n") == ("sm_80", "sm_90a", "compute_120")
    assert targets_in("") == ()


def _serve(handler: type[_Handler], folder: Path) -> None:
    """Every project with the files that the knowledge in a folder has."""
    for project in load(folder).wheels_file.projects:
        names = [
            f"{project.name.replace('-', '_')}-{version}-{_tags(tag)}-{platform}.whl"
            if platform != "sdist"
            else f"{project.name}-{version}.tar.gz"
            for version, files in project.releases.items()
            for platform, tags in files.items()
            for tag in tags.split() or [""]
        ]
        files = [
            {"filename": name, "url": f"../../{name}", "core-metadata": True} for name in names
        ]
        handler.files[f"/simple/{project.name}/"] = json.dumps({"files": files}).encode()


def _tags(tag: str) -> str:
    if tag == "py3":
        return "py3-none"
    if "-" in tag:
        return tag
    return f"{tag[:-1]}-{tag}" if tag.endswith("t") else f"{tag}-{tag}"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The knowledge, to be written into."""
    folder = tmp_path / "knowledge"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def test_what_a_new_release_brings_is_written_for_review(
    index: tuple[str, type[_Handler]], copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data without 2.15, and an index that has it: the release comes back from its wheels."""
    url, handler = index
    _serve(handler, copy)
    without = json.loads((copy / "torch.json").read_text())
    gone = without["releases"].pop()
    assert gone["version"] == "2.15.0"
    (copy / "torch.json").write_text(as_kept(without))
    pairs = json.loads((copy / "companions.json").read_text())
    pairs["pairs"].pop()
    newest = [one for one in pairs["extensions"] if one["name"] == "vllm"][-1]
    pairs["extensions"].remove(newest)
    (copy / "companions.json").write_text(as_kept(pairs))
    lists = json.loads((copy / "wheels.json").read_text())
    del lists["projects"][0]["releases"]["2.15.0"]
    (copy / "wheels.json").write_text(as_kept(lists))
    pins = KNOWLEDGE.variant("2.15.0", "cu132")
    assert pins is not None
    direct = {
        name.replace("cuda-toolkit", "cuda-toolkit[cublas,nvjitlink]"): pin
        for name, pin in pins.requires.items()
        if name.startswith(("cuda-", "triton")) or name.endswith("-cu13")
    }
    for machine in MACHINES:
        name = f"torch-2.15.0-cp311-cp311-manylinux_2_28_{machine}.whl"
        handler.files[f"/{name}.metadata"] = _metadata_text(direct)
        handler.files[f"/{name}"] = _wheel_with_targets(("sm_80", "sm_90"))
    toolkit = "cuda_toolkit-13.2.2-py2.py3-none-any.whl"
    listing = {"files": [{"filename": toolkit, "url": f"../../{toolkit}", "core-metadata": True}]}
    handler.files["/simple/cuda-toolkit/"] = json.dumps(listing).encode()
    handler.files[f"/{toolkit}.metadata"] = (
        b"Requires-Dist: nvidia-cublas==13.4.1.3.*; platform_machine == 'x86_64' and extra == "
        b"'cublas'\nRequires-Dist: nvidia-nvtx==13.2.86.*; extra == 'nvtx'\n"
    )
    vllm = f"vllm-{newest['version']}-cp38-abi3-manylinux_2_28_x86_64.whl"
    handler.files[f"/{vllm}.metadata"] = b"Requires-Dist: torch==2.14.0\n"
    vision = "torchvision-0.29.2-py3-none-manylinux_2_28_x86_64.whl"
    handler.files[f"/{vision}.metadata"] = b"Requires-Dist: torch>=2.14.0\n"

    arguments = ["--index", url, "--folder", str(copy), "--write", "--retrieved", "2026-11-26"]
    assert main(arguments) == 2, "no METADATA of the other companions is served"
    out, err = capsys.readouterr()
    assert "torch 2.15.0: release: index published; knowledge not in the data" in out
    assert "torch.json: 2.15.0 with its builds on PyPI" in out
    assert f"vllm {newest['version']}: requires torch: index ==2.14.0; knowledge not in" in out
    assert "refresh: torchao" in err

    after = load(copy)
    release = after.release("2.15.0")
    assert release is not None
    assert (release.pypi_variant, release.pypi_variant_aarch64) == ("cu132", "cu132")
    variant = after.variant("2.15.0", "cu132")
    assert variant is not None
    assert (variant.cudnn, variant.nccl, variant.triton) == ("9.26.0.51", "2.30.7", "~=3.9.0")
    assert variant.arch_flags == ("sm_80", "sm_90")
    assert variant.requires["nvidia-cublas"] == "==13.4.1.3.*", "cuda-toolkit brings it"
    assert "nvidia-nvtx" not in variant.requires, "no extra asks for it"
    assert after.extension("vllm", newest["version"]) is not None
    assert after.companions("2.15.0") is not None
    assert after.companions("2.15.0").torchvision == ("0.29.2",)  # type: ignore[union-attr]
    assert after.wheels.files("torch", "2.15.0") == KNOWLEDGE.wheels.files("torch", "2.15.0")


def test_pins_that_the_data_lacks_are_completed(
    index: tuple[str, type[_Handler]], copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The build for aarch64 without its pins: they come back from the wheel, and are then no
    difference."""
    url, handler = index
    _serve(handler, copy)
    document = json.loads((copy / "torch.json").read_text())
    build = document["releases"][-1]["aarch64"][0]
    pins = dict(build["requires"])
    build.update(requires={}, nccl=None, cudnn=None, triton=None)
    (copy / "torch.json").write_text(as_kept(document))
    for machine in MACHINES:
        name = f"torch-2.15.0-cp311-cp311-manylinux_2_28_{machine}.whl"
        handler.files[f"/{name}.metadata"] = _metadata_text(pins)
        handler.files[f"/{name}"] = _wheel_with_targets(tuple(build["arch_flags"]))
    arguments = ["--index", url, "--folder", str(copy)]
    main([*arguments, "--write"])
    assert "torch.json: pins of 2.15.0+cu132 for aarch64" in capsys.readouterr().out
    variant = load(copy).variant("2.15.0", "cu132", "aarch64")
    assert variant is not None
    assert variant.requires == pins
    assert (variant.nccl, variant.triton) == ("2.30.7", "~=3.9.0")
    main(arguments)
    assert "2.15.0 (aarch64): requires" not in capsys.readouterr().out


def test_a_fault_of_its_own_is_not_a_difference(
    index: tuple[str, type[_Handler]], copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "torch.json").write_text("{}")
    assert main(["--index", index[0], "--folder", str(copy)]) == 2
    assert "Traceback" in capsys.readouterr().err


def _metadata_text(pins: dict[str, str]) -> bytes:
    lines = [f"Requires-Dist: {name}{pin}" for name, pin in pins.items()]
    return "\n".join(["Metadata-Version: 2.1", "Requires-Python: >=3.11", *lines]).encode()


def _wheel_with_targets(targets: tuple[str, ...]) -> bytes:
    flags = ";".join(f"-gencode;arch=compute_{one[3:]},code={one}" for one in targets)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(
            "torch/include/ATen/cuda/CUDAConfig.h", f'#define NVCC_FLAGS_EXTRA "{flags}"\n'
        )
    return stream.getvalue()


def test_its_own_failure_is_not_a_difference(
    index: tuple[str, type[_Handler]], copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wheel without METADATA, and projects that the index lacks: said, and exit 2."""
    url, handler = index
    _publish(handler, b"no wheel at all")
    assert main(["2.6.0", "--index", url, "--folder", str(copy)]) == 2
    out, err = capsys.readouterr()
    assert "refresh: torch-2.6.0-cp311-cp311-manylinux1_x86_64.whl" in err
    assert "refresh: vllm: HTTP Error 404" in err
    assert "vllm" not in out, "what could not be looked at is no difference"


def test_an_index_that_does_not_answer_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--index", "http://127.0.0.1:9/simple"]) == 2
    assert "refresh:" in capsys.readouterr().err


def test_the_files_are_written_as_they_are_kept() -> None:
    for name in ("torch", "companions", "drivers", "gpus", "wheels", "systems"):
        text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        assert as_kept(json.loads(text)) == text, name


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
        release, file = KNOWLEDGE.release(version), wheel_for(version, "x86_64", files)
        assert release is not None
        assert file is not None, version
        known = KNOWLEDGE.variant(version, release.pypi_variant)
        metadata = metadata_of(file)
        assert metadata.bytes_read <= MAX_BYTES
        assert list(differences(known, metadata, version)) == [], version
        compared = dict(gpu_requirements(metadata.requires, "x86_64"))
        read += bool(compared)
    assert read >= 10
