"""PyTorch itself: whether it is there, imports, fits the GPU, and computes."""

import re
from typing import Any

from packaging.version import InvalidVersion, Version

from envdoctor.api import (
    Code,
    Confidence,
    Distributions,
    Evidence,
    Findings,
    Fix,
    Installer,
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
    message="no torch lies on the path of `{python}`",
)
TORCH_IMPORT_FAILED = Code(
    id="ED401",
    name="torch-import-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    message="`import torch` raises {exception}: {text}",
)
TORCH_IMPORT_CRASHED = Code(
    id="ED402",
    name="torch-import-crashed",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    message="`import torch` ends the interpreter by {signal}",
)
TORCH_IMPORT_HANGS = Code(
    id="ED403",
    name="torch-import-hangs",
    family="torch-import-hangs",
    severity=Severity.ERROR,
    message="`import torch` gave no answer within {seconds} s",
)
TORCH_IMPORT_EXITS = Code(
    id="ED404",
    name="torch-import-exits",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    message="`import torch` exits the interpreter with code {exit_code}",
)
FIRST_USE_FAILED = Code(
    id="ED410",
    name="first-use-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    message="the first {operation} on {device} fails: {text}",
)
NUMPY_ABI_MISMATCH = Code(
    id="ED413",
    name="numpy-abi-mismatch",
    family="numpy-abi-mismatch",
    severity=Severity.ERROR,
    message="torch {version} cannot exchange arrays with numpy {numpy}: {text}",
)
NUMPY_UNUSABLE = Code(
    id="ED414",
    name="numpy-unusable",
    family="numpy-unusable",
    severity=Severity.WARNING,
    message="torch {version} cannot use numpy {numpy}: {text}",
)

_NUMPY_ABI = re.compile(
    r"_ARRAY_API|compiled using NumPy|compiled against (?:NumPy )?(?:C-)?A[PB]I version"
    r"|dtype size changed"
)
"""What numpy says where a module was built for another one: `_import_array` of its C API, Cython's
check of types, and its note on modules that were compiled using NumPy 1.x."""
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
            subject=use.device,
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


@check(NUMPY_ABI_MISMATCH, NUMPY_UNUSABLE)
def numpy_cannot_be_used(
    build: TorchBuild,
    distributions: Distributions,
    known: Knowledge,
    runtime: TorchRuntime | None,
    target: Target | None,
    installer: Installer | None,
) -> Findings:
    """Torch and the installed numpy cannot exchange arrays: by numpy's version, or otherwise."""
    numpy = distributions.first("numpy")
    if numpy is None:
        return
    version = (runtime.numpy_version if runtime else None) or numpy.version
    built_for_1 = _is_numpy_2(version) and _is_built_for_numpy_1(build, known)
    error = runtime.numpy_error if runtime else None
    if error is None and (runtime is not None or not built_for_1):
        return
    text = error or "it was built for numpy 1"
    is_abi = built_for_1 or _NUMPY_ABI.search(text) is not None
    used = Evidence(label="torch.zeros(1).numpy()", value=text, source="torch")
    yield (NUMPY_ABI_MISMATCH if is_abi else NUMPY_UNUSABLE).finding(
        confidence=Confidence.CERTAIN if error else Confidence.LIKELY,
        version=build.version,
        numpy=version,
        text=text.splitlines()[0],
        evidence=(
            Evidence(label="numpy", value=version, source=numpy.metadata_path),
            *((used,) if error else ()),
        ),
        fixes=(_numpy_fix(text, version, target, installer, is_abi=is_abi),),
        notes=("torch up to 2.2 is built against numpy 1 (pytorch issue 131668)",)
        if built_for_1
        else (),
    )


def _is_numpy_2(version: str) -> bool:
    try:
        return Version(version).major >= 2
    except InvalidVersion:
        return False


def _is_built_for_numpy_1(build: TorchBuild, known: Knowledge) -> bool:
    return build.version is not None and known.fits_numpy_2(build.version) is False


def _numpy_fix(
    error: str, numpy: str, target: Target | None, installer: Installer | None, *, is_abi: bool
) -> Fix:
    if is_abi and _is_numpy_2(numpy):
        return Fix(
            summary="install a numpy that this torch was built for",
            commands=(install_command(("numpy<2",), target=target, installer=installer),),
            safety=Safety.CHANGES_ENV,
        )
    if is_abi:
        return Fix(summary="install a numpy that is not older than the one torch was built with")
    if "without NumPy" in error:
        return Fix(
            summary="install an official build of torch; a build from source finds numpy only if "
            "that is installed while it is configured (USE_NUMPY=1)"
        )
    return Fix(
        summary="see whether numpy itself can be imported",
        commands=(f"{target.path if target else 'python3'} -c 'import numpy'",),
        safety=Safety.SAFE,
    )
