"""PyTorch itself: whether it is there, imports, fits the GPU, and computes."""

from envdoctor.api import (
    Code,
    Confidence,
    Distributions,
    Evidence,
    Findings,
    Knowledge,
    Layer,
    Prescription,
    Severity,
    Site,
    Target,
    TorchAbsent,
    TorchBuild,
    TorchImport,
    TorchRuntime,
    check,
    packages,
    prescribed,
)

TORCH_NOT_INSTALLED = Code(
    id="ED400",
    name="torch-not-installed",
    family="torch-not-installed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FILES,
    breaks="import:torch",
    message="torch is not installed",
    detailed="no torch lies on the path of `{python}`",
)
NUMPY_ABI_MISMATCH = Code(
    id="ED413",
    name="numpy-abi-mismatch",
    family="numpy-abi-mismatch",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FILES,
    breaks="compute:cpu",
    message="torch cannot exchange arrays with numpy",
    detailed="torch {version} cannot exchange arrays with numpy {numpy}: {text}",
)


@check(TORCH_NOT_INSTALLED)
def torch_not_installed(
    absent: TorchAbsent,
    target: Target,
    imported: TorchImport | None,
    prescription: Prescription | None,
) -> Findings:
    """Neither torch's package nor its metadata is on the path."""
    if not absent.absent or target.problem is not None:
        return
    if imported is not None and imported.outcome == "ok":
        return
    yield TORCH_NOT_INSTALLED.finding(
        python=target.path,
        evidence=tuple(
            Evidence(label="no torch in", value=folder, source="sys.path")
            for folder in absent.searched
            if folder.endswith("-packages")
        ),
        fixes=(prescribed(prescription, "install the build that fits this machine"),),
    )


@check(NUMPY_ABI_MISMATCH)
def numpy_abi_mismatch(
    build: TorchBuild,
    distributions: Distributions,
    known: Knowledge,
    runtime: TorchRuntime | None,
    site: Site,
) -> Findings:
    """A torch that was compiled against the C API of numpy 1 beside numpy 2."""
    numpy = distributions.first("numpy")
    if numpy is None:
        return
    if runtime is not None:
        text = runtime.numpy_error
    else:
        text = _without_running(build, numpy.version, known)
    if text is None:
        return
    yield NUMPY_ABI_MISMATCH.finding(
        confidence=Confidence.CERTAIN if runtime else Confidence.LIKELY,
        version=build.version,
        numpy=numpy.version,
        text=text.splitlines()[0],
        evidence=(
            Evidence(label="numpy", value=numpy.version, source=numpy.metadata_path),
            Evidence(label="torch.zeros(1).numpy()", value=text, source="torch"),
        ),
        fixes=(
            packages.install(
                site,
                "numpy<2",
                summary="install a numpy that this torch was built for",
                beside=numpy,
            ),
        ),
        notes=("torch up to 2.2 is built against numpy 1 (pytorch issue 131668)",),
    )


def _without_running(build: TorchBuild, numpy: str, known: Knowledge) -> str | None:
    if numpy.startswith(("0.", "1.")) or build.version is None:
        return None
    fits = known.fits_numpy_2(build.version)
    return "it was built for numpy 1" if fits is False else None
