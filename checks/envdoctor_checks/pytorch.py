"""PyTorch itself: whether it is there, imports, fits the GPU, and computes."""

import re

from envdoctor.api import (
    Code,
    Confidence,
    Distribution,
    Distributions,
    Evidence,
    Findings,
    Fix,
    Interpreter,
    Knowledge,
    Layer,
    Prescription,
    Safety,
    Severity,
    Site,
    Target,
    TorchAbsent,
    TorchBuild,
    TorchImport,
    TorchRuntime,
    check,
    command,
    interpreters,
    packages,
    parse_version,
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
    detailed="`{python}` has no torch",
)
EDITABLE_SOURCE_GONE = Code(
    id="ED421",
    name="editable-source-gone",
    family="editable-source-gone",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FILES,
    breaks="import:torch",
    message="torch is an editable install, and its checkout is not where it was",
    detailed="torch {version} is an editable install, and its checkout is not where it was",
)
NUMPY_ABI_MISMATCH = Code(
    id="ED413",
    name="numpy-abi-mismatch",
    family="numpy-abi-mismatch",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FILES,
    breaks="import:numpy",
    message="torch cannot exchange arrays with numpy",
    detailed="torch {version} cannot exchange arrays with numpy {numpy}: {text}",
)
INTERPRETER_EXIT = Code(
    id="ED417",
    name="exit-after-torch-fails",
    family="exit-after-torch-fails",
    severity=Severity.WARNING,
    topic="torch",
    layer=Layer.FIRST_USE,
    message="an interpreter that has used torch does not exit as it should",
    detailed="an interpreter that has used torch does not exit as it should: {how}",
)
NUMPY_UNUSABLE = Code(
    id="ED416",
    name="numpy-unusable",
    family="numpy-unusable",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FILES,
    breaks="import:numpy",
    message="torch and the installed numpy cannot exchange arrays",
    detailed="torch {version} cannot use numpy {numpy}: {text}",
)

_NUMPY_ABI = re.compile(
    r"_ARRAY_API|compiled using NumPy|compiled against (?:NumPy )?(?:C-)?A[PB]I version"
    r"|dtype size changed"
)
"""What numpy says where a module was built for another one: `_import_array` of its C API, Cython's
check of types, and its note on modules that were compiled using NumPy 1.x."""


@check(TORCH_NOT_INSTALLED)
def torch_not_installed(
    absent: TorchAbsent,
    target: Target,
    imported: TorchImport | None,
    interpreter: Interpreter | None,
    prescription: Prescription | None,
) -> Findings:
    """Neither torch's package nor its metadata is on the path, and no folder of packages is closed
    to this user."""
    if interpreter is not None and set(interpreter.closed) & set(interpreter.site_packages):
        return
    if not absent.absent or target.problem is not None:
        return
    if imported is not None and not imported.fails:
        return
    install = prescribed(prescription, "install the build that fits this machine")
    yield TORCH_NOT_INSTALLED.finding(
        python=target.path,
        evidence=tuple(
            Evidence(label="no torch in", value=folder, source="sys.path")
            for folder in absent.searched
            if folder.endswith("-packages")
        ),
        fixes=() if _is_told_elsewhere(absent, interpreter) else (install,),
    )


def _is_told_elsewhere(absent: TorchAbsent, interpreter: Interpreter | None) -> bool:
    """Whether there is a torch that this Python does not look at: to install another one into it is
    no repair of that."""
    user_site = interpreter.user_site if interpreter else None
    return any(folder != user_site for folder in absent.elsewhere)


@check(EDITABLE_SOURCE_GONE)
def editable_source_gone(
    distributions: Distributions, imported: TorchImport, prescription: Prescription | None
) -> Findings:
    """The metadata of torch leads to a source folder that was moved or deleted."""
    torch = distributions.first("torch")
    if torch is None or not torch.editable or "No module named 'torch'" not in imported.message:
        return
    url = f"{torch.metadata_path}/direct_url.json"
    yield EDITABLE_SOURCE_GONE.finding(
        version=torch.version,
        evidence=(Evidence(label="torch", value=torch.version, source=url),),
        fixes=(
            Fix(
                summary="bring the checkout back to where it was, which this file says, or run "
                "`pip install -e` where it is now",
                commands=(command("cat", url),),
                safety=Safety.SAFE,
            ),
            prescribed(prescription, "or install a release of torch in its place"),
        ),
    )


_AT_EXIT = {
    "hang": "it hangs",
    "signal": "it is ended by {detail}",
    "exit": "its exit code is not 0 ({detail})",
}


def _see_the_end(imported: TorchImport, site: Site) -> Fix:
    """A signal prints where it happened by itself, a hang once it is ended by one."""
    code = "import torch; torch.ones(1) + 1"
    if imported.exit_outcome == "hang":
        return interpreters.see_where_it_hangs(site.target, code, after_s=_HANGS_AFTER_S)
    return interpreters.try_in_target(site.target, code, summary="see where it happens")


_HANGS_AFTER_S = 60


@check(INTERPRETER_EXIT)
def interpreter_does_not_exit(imported: TorchImport, site: Site) -> Findings:
    """Torch works, and the interpreter hangs or dies when it ends: jobs then look failed."""
    if imported.outcome != "ok" or imported.exit_outcome in (None, "ok"):
        return
    how = _AT_EXIT[imported.exit_outcome].format(detail=imported.exit_detail)
    yield INTERPRETER_EXIT.finding(
        how=how,
        evidence=(
            Evidence(
                label="at exit",
                value=imported.exit_output_tail or imported.exit_detail or how,
                source="the probe's own interpreter, after torch and its libraries were used",
            ),
        ),
        fixes=(_see_the_end(imported, site),),
        notes=(
            "threads and atexit handlers of a library most often do it: update the library that "
            "the output names, or leave it out and try again",
        ),
    )


@check(NUMPY_ABI_MISMATCH, NUMPY_UNUSABLE)
def numpy_cannot_be_used(
    build: TorchBuild,
    distributions: Distributions,
    known: Knowledge,
    runtime: TorchRuntime | None,
    site: Site,
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
        severity=Severity.WARNING if "without NumPy" in text else Severity.ERROR,
        confidence=Confidence.CERTAIN if error else Confidence.LIKELY,
        version=build.version,
        numpy=version,
        text=text.splitlines()[0],
        evidence=(
            Evidence(label="numpy", value=version, source=numpy.metadata_path),
            *((used,) if error else ()),
        ),
        fixes=(_numpy_fix(site, text, numpy, is_abi=is_abi),),
        notes=("torch up to 2.2 is built against numpy 1 (pytorch issue 131668)",)
        if built_for_1
        else (),
    )


def _is_numpy_2(version: str) -> bool:
    parsed = parse_version(version)
    return parsed is not None and parsed.major >= 2


def _is_built_for_numpy_1(build: TorchBuild, known: Knowledge) -> bool:
    return build.version is not None and known.fits_numpy_2(build.version) is False


def _numpy_fix(site: Site, error: str, numpy: Distribution, *, is_abi: bool) -> Fix:
    if is_abi and _is_numpy_2(numpy.version):
        summary = "install a numpy that this torch was built for"
        return packages.install(site, "numpy<2", summary=summary, beside=numpy)
    if is_abi:
        return Fix(summary="install a numpy that is not older than the one torch was built with")
    if "without NumPy" in error:
        return Fix(
            summary="install an official build of torch; a build from source finds numpy only if "
            "that is installed while it is configured (USE_NUMPY=1)"
        )
    return interpreters.try_in_target(
        site.target, "import numpy", summary="see whether numpy itself can be imported"
    )
