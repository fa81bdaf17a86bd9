"""The image, built and run by buildah. Its base is Debian with its own Python, under the name of
the one in the Dockerfile: what is tried are our own lines. Needs root, buildah and mmdebstrap, and
asks Debian's mirror and the package index."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.image, pytest.mark.timeout(1200)]

REPOSITORY = Path(__file__).parents[2]
ENV = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
IMAGE = "localhost/envdoctor-under-test"


def run(*argv: object, **options: object) -> subprocess.CompletedProcess[str]:
    words = [str(one) for one in argv]
    return subprocess.run(words, env=ENV, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def done(*argv: object) -> str:
    """The output of a command that has to succeed."""
    result = run(*argv)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the image. Only what its tests need of the repository is given to the build."""
    for program in ("buildah", "mmdebstrap"):
        assert shutil.which(program), f"this lane needs {program}"
    base = base_image(tmp_path_factory.mktemp("base"))
    try:
        done("buildah", "bud", "--pull-never", *certificates(), "-t", IMAGE, REPOSITORY)
        yield IMAGE
    finally:
        run("buildah", "rmi", "--force", IMAGE, base)


def base_image(folder: Path) -> str:
    """A stand-in for the base of the Dockerfile, under its name."""
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    (name,) = set(re.findall(r"^FROM (\S+)", dockerfile, flags=re.MULTILINE))
    root = folder / "base.tar"
    packages = "ca-certificates,python3,python3-venv,python3-pip"
    done("mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", root)
    container = done("buildah", "from", "scratch")
    done("tar", "-C", done("buildah", "mount", container), "-xf", root)
    done("buildah", "umount", container)
    done("buildah", "commit", "-q", container, f"docker.io/library/{name}")
    done("buildah", "rm", container)
    return f"docker.io/library/{name}"


def certificates() -> list[str]:
    """What pip needs to reach an index by way of this machine, and no image keeps."""
    names = [name for name in ("SSL_CERT_FILE", "PIP_CERT") if name in ENV]
    return [
        "--volume",
        "/etc/ssl/certs:/etc/ssl/certs:ro",
        *(w for n in names for w in ("--env", n)),
    ]


@pytest.fixture
def container(image: str) -> Iterator[str]:
    name = done("buildah", "from", "--pull-never", image)
    yield name
    run("buildah", "rm", name)


def command_of(image: str) -> list[str]:
    """What runs where nothing is said."""
    found = json.loads(done("buildah", "inspect", "--type", "image", image))
    config = found["OCIv1"]["config"]
    return [*config["Entrypoint"], *config["Cmd"]]


@pytest.mark.parametrize(
    "user", [[], ["--user", "0"], ["--user", "4711:4711"]], ids=["own", "root", "other"]
)
def test_the_default_command_examines_the_machine(
    image: str, container: str, user: list[str]
) -> None:
    result = run("buildah", "run", *user, container, "--", *command_of(image), "--json")
    document = json.loads(result.stdout)
    assert result.returncode == document["exit_code"], result.stderr
    assert document["selection"]["scope"] == "node"
    assert "torch-not-installed" not in {one["name"] for one in document["findings"]}
    text = run("buildah", "run", *user, container, "--", *command_of(image)).stdout
    assert "not looked at: the target and its torch" in text.replace("\n  ", " ")


def test_the_user_of_the_image_is_nobody_special(container: str) -> None:
    assert done("buildah", "run", container, "--", "id", "-u") == "10001"


def test_a_check_says_that_the_image_has_no_torch(container: str) -> None:
    result = run("buildah", "run", container, "--", "envdoctor", "check", "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["findings"][0]["name"] == "torch-not-installed"


def test_nothing_is_written_into_the_image(image: str, container: str) -> None:
    """A read-only root file system: what is written would be seen in it afterwards."""
    root = Path(done("buildah", "mount", container))
    before = files_of(root)
    run("buildah", "run", container, "--", *command_of(image))
    assert files_of(root) == before


def files_of(root: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time, apart from what a running container is given."""
    own = ("proc", "sys", "dev", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname")
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_file() and not path.is_symlink() and not name.startswith(own):
            status = path.stat()
            found[name] = status.st_size, status.st_mtime_ns
    return found
