"""PyTorch itself: whether it is there, imports, fits the GPU, and computes."""

from typing import Any

from envdoctor.api import (
    Code,
    Confidence,
    Distributions,
    Evidence,
    Findings,
    Fix,
    Installer,
    Layer,
    Safety,
    Severity,
    Target,
    TorchAbsent,
    TorchBuild,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
    check,
)
from envdoctor.knowledge import Knowledge
from envdoctor.prescribe import Prescription
from envdoctor.repair import install_command, prescribed

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
TORCH_IMPORT_FAILED = Code(
    id="ED401",
    name="torch-import-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` raises an exception",
    detailed="`import torch` raises {exception}: {text}",
)
TORCH_IMPORT_CRASHED = Code(
    id="ED402",
    name="torch-import-crashed",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` ends the interpreter by a signal",
    detailed="`import torch` ends the interpreter by {signal}",
)
TORCH_IMPORT_HANGS = Code(
    id="ED403",
    name="torch-import-hangs",
    family="torch-import-hangs",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` gives no answer",
    detailed="`import torch` gave no answer within {seconds} s",
)
TORCH_IMPORT_EXITS = Code(
    id="ED404",
    name="torch-import-exits",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` exits the interpreter",
    detailed="`import torch` exits the interpreter with code {exit_code}",
)
FIRST_USE_FAILED = Code(
    id="ED410",
    name="first-use-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FIRST_USE,
    breaks="compute",
    message="the first operation fails",
    detailed="the first {operation} on {device} fails: {text}",
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

_SOURCE_IMPORT = "import torch"
_OUTCOMES = {
    "exception": TORCH_IMPORT_FAILED,
    "signal": TORCH_IMPORT_CRASHED,
    "hang": TORCH_IMPORT_HANGS,
    "exit": TORCH_IMPORT_EXITS,
}


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


@check(TORCH_IMPORT_FAILED, TORCH_IMPORT_CRASHED, TORCH_IMPORT_HANGS, TORCH_IMPORT_EXITS)
def torch_does_not_import(
    imported: TorchImport, absent: TorchAbsent | None, target: Target
) -> Findings:
    """What `import torch` does instead of importing."""
    if imported.outcome == "ok" or (absent is not None and absent.absent):
        return
    yield _OUTCOMES[imported.outcome].finding(
        **_import_data(imported),
        evidence=tuple(_import_evidence(imported)),
        fixes=(
            Fix(
                summary="see the whole output of the import",
                commands=(f"{target.path} -X faulthandler -c 'import torch'",),
                safety=Safety.SAFE,
            ),
        ),
    )


def _import_data(imported: TorchImport) -> dict[str, Any]:
    """The arguments of the message for this outcome."""
    if imported.outcome == "signal":
        return {"signal": imported.signal}
    if imported.outcome == "hang":
        return {"seconds": round(imported.seconds)}
    if imported.outcome == "exit":
        return {"exit_code": imported.exit_code}
    text = (imported.message.strip().splitlines() or [""])[0]
    return {"exception": imported.exception or "an exception", "text": text}


def _import_evidence(imported: TorchImport) -> list[Evidence]:
    found = [
        Evidence(label="raised at", value=f"{frame.file}:{frame.line}", source="traceback")
        for frame in imported.frames[-1:]
    ]
    if imported.cause:
        found.append(Evidence(label="caused by", value=imported.cause, source="traceback"))
    if imported.outcome in ("signal", "exit", "hang") and imported.output_tail:
        last = "\n".join(imported.output_tail.splitlines()[:6])
        found.append(Evidence(label="it printed", value=last, source=_SOURCE_IMPORT))
    if imported.isolated_outcome:
        found.append(
            Evidence(
                label="with python -I",
                value=imported.isolated_outcome,
                source="a second import, without cwd, PYTHONPATH and user site",
            )
        )
    return found


@check(FIRST_USE_FAILED)
def first_use_failed(first_use: TorchFirstUse, target: Target) -> Findings:
    """Torch imports, and its first operation on a device does not work."""
    devices: set[str] = set()
    for use in first_use.operations:
        if use.error is None or use.device in devices:
            continue
        devices.add(use.device)
        yield FIRST_USE_FAILED.finding(
            subjects=(use.device,),
            operation=use.operation,
            device=use.device,
            text=use.error.splitlines()[0],
            evidence=(Evidence(label=use.operation, value=use.error, source=use.device),),
            fixes=(
                Fix(
                    summary="see the whole message with synchronous kernels",
                    commands=(
                        f'CUDA_LAUNCH_BLOCKING=1 {target.path} -c "import torch; '
                        f"x = torch.ones(2, 2, device='{use.device}'); print(x @ x)\"",
                    ),
                    safety=Safety.SAFE,
                ),
            ),
        )


@check(NUMPY_ABI_MISMATCH)
def numpy_abi_mismatch(
    build: TorchBuild,
    distributions: Distributions,
    known: Knowledge,
    runtime: TorchRuntime | None,
    target: Target | None,
    installer: Installer | None,
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
            Fix(
                summary="install a numpy that this torch was built for",
                commands=(install_command(("numpy<2",), target=target, installer=installer),),
                safety=Safety.CHANGES_ENV,
            ),
        ),
        notes=("torch up to 2.2 is built against numpy 1 (pytorch issue 131668)",),
    )


def _without_running(build: TorchBuild, numpy: str, known: Knowledge) -> str | None:
    if numpy.startswith(("0.", "1.")) or build.version is None:
        return None
    fits = known.fits_numpy_2(build.version)
    return "it was built for numpy 1" if fits is False else None
