"""What the machine has run out of, or gives too little of: threads, memory, room for files; and a
clock that lies in the past."""

import re
from collections.abc import Iterator

from envdoctor.api import (
    Code,
    CompanionImports,
    Confidence,
    Evidence,
    Findings,
    Fix,
    Host,
    Layer,
    Limits,
    Severity,
    Site,
    TemporaryFolder,
    TemporaryFolders,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
    check,
    system,
)
from envdoctor_checks.import_failures import failures_of

THREADS_REFUSED = Code(
    id="ED328",
    name="threads-refused",
    family="threads-refused",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="this process gets fewer threads than torch starts",
    detailed="this process gets fewer threads than torch starts: {why}",
)
MEMORY_EXHAUSTED = Code(
    id="ED329",
    name="memory-exhausted",
    family="memory-exhausted",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="the system ends the import, and there is little memory",
    detailed="the system ends the import, and there is little memory: {what}",
)
PAGING_FILE_TOO_SMALL = Code(
    id="ED336",
    name="paging-file-too-small",
    family="paging-file-too-small",
    severity=Severity.ERROR,
    topic="libraries",
    layer=Layer.INTERPRETER,
    fault="machine",
    breaks="import:torch",
    message="the paging file is too small: Windows cannot promise torch's libraries their memory",
)
NO_TEMPORARY_FOLDER = Code(
    id="ED333",
    name="no-temporary-folder",
    family="no-temporary-folder",
    severity=Severity.WARNING,
    topic="python",
    layer=Layer.INTERPRETER,
    fault="machine",
    breaks="compile",
    message="there is no room for temporary files, in which torch.compile keeps its kernels",
    detailed="there is no room for temporary files, in which torch.compile keeps its kernels: "
    "{what}",
)
# --- threads ---

_REFUSED = re.compile(
    r"can't start new thread|pthread_create failed|Thread creation failed"
    r"|OMP: Error #34|Failed to create new thread"
)
"""Python, OpenBLAS, GNU's OpenMP and LLVM's, where the system refuses a thread."""


@check(THREADS_REFUSED)
def threads_refused(
    limits: Limits,
    site: Site,
    imported: TorchImport | None,
    companions: CompanionImports | None,
    runtime: TorchRuntime | None,
    used: TorchFirstUse | None,
) -> Findings:
    """An import that says so; or a limit below what torch starts, which a first small operation
    on one thread does not need."""
    said = dict(_refusals(imported, companions))
    wanted = (runtime.threads or 0) if runtime is not None else 0
    is_short = _is_short(limits, wanted, computed=used is not None)
    # A limit of the address space has the same effect, and a finding of its own.
    if not is_short and (not said or limits.address_space_bytes is not None):
        return
    line = next(iter(said.values()), "")
    forbidden = site.contained and "Operation not permitted" in line
    yield THREADS_REFUSED.finding(
        breaks=tuple(said) or ("compute:cpu",),
        severity=Severity.ERROR if said or used is None else Severity.WARNING,
        confidence=Confidence.LIKELY,
        why=_why_refused(limits, forbidden),
        evidence=tuple(_of_threads(limits, wanted, line)),
        fixes=(system.allow_new_system_calls(site),) if forbidden else system.more_tasks(site),
        notes=(_OLD_DOCKER if forbidden else _EACH_A_THREAD,),
    )


_OLD_DOCKER = (
    "glibc 2.34 and later make threads by `clone3`, which Docker before 20.10.10 forbids in a way "
    "that they do not understand"
)
_EACH_A_THREAD = (
    "torch and the libraries below it start a thread for each core, and each worker of a "
    "DataLoader its own"
)


_OF_THE_DOCTOR = 32
"""More tasks than the doctor and its children have, which are among those that were counted."""


def _is_short(limits: Limits, wanted: int, *, computed: bool) -> bool:
    """Whether so many threads find no room, as far as is known."""
    if limits.tasks is None:
        return False
    mine = _OF_THE_DOCTOR if computed and limits.tasks_running is not None else 0
    return limits.tasks - (limits.tasks_running or 0) + mine < wanted


def _refusals(
    imported: TorchImport | None, companions: CompanionImports | None
) -> Iterator[tuple[str, str]]:
    """The imports that were refused a thread, with the line that says it."""
    printed = imported.output_tail if imported is not None else ""
    for one in failures_of(imported, companions):
        text = f"{one.text}\n{printed}" if one.outcome == "import:torch" else one.text
        line = next((line for line in text.splitlines() if _REFUSED.search(line)), "")
        if line:
            yield one.outcome, line


def _why_refused(limits: Limits, forbidden: bool) -> str:
    if forbidden:
        return "the container's filter of system calls forbids them"
    if limits.tasks is None:
        return "the system refuses them"
    return f"it may have {limits.tasks} processes and threads in all"


def _of_threads(limits: Limits, wanted: int, line: str) -> Iterator[Evidence]:
    if limits.tasks is not None and limits.tasks_running is None:
        yield Evidence(label="ulimit -u", value=str(limits.tasks), source="getrlimit")
    elif limits.tasks is not None:
        value = f"{limits.tasks_running} of {limits.tasks}"
        yield Evidence(label="tasks", value=value, source="pids.current, pids.max")
    if wanted:
        yield Evidence(label="threads of torch", value=str(wanted), source="torch")
    if line:
        yield Evidence(label="it said", value=line, source="the import")


# --- memory ---

LITTLE_BYTES = 2 << 30
"""What an import needs is some 200 MB for a build for the CPU and less than 1 GB for CUDA with
what is built on it (measured, resident); where there is twice that, something else sent SIGKILL."""


@check(MEMORY_EXHAUSTED)
def memory_exhausted(
    imported: TorchImport, limits: Limits | None, host: Host, site: Site
) -> Findings:
    """SIGKILL, which Linux sends when memory runs out, where there is little of it."""
    if imported.signal != "SIGKILL":
        return
    limit = limits.cgroup_memory_bytes if limits else None
    free = host.memory_available_bytes
    limited = limit is not None and limit < LITTLE_BYTES
    if not limited and (free is None or free >= LITTLE_BYTES):
        return
    of_group = f"the control group may have {(limit or 0) / 2**20:.0f} MiB"
    of_machine = f"{(free or 0) / 2**20:.0f} MiB of the machine's are left"
    yield MEMORY_EXHAUSTED.finding(
        confidence=Confidence.LIKELY,
        what=of_group if limited else of_machine,
        evidence=(
            Evidence(label="import torch", value="SIGKILL", source="the exit of the interpreter"),
            Evidence(label="memory limit", value=f"{limit} bytes", source="memory.max")
            if limited
            else Evidence(label="MemAvailable", value=f"{free} bytes", source="/proc/meminfo"),
        ),
        fixes=system.more_memory(site) if limited else (system.free_memory(site),),
        notes=("the kernel's log says `Out of memory` or `oom-kill`, with the process",),
    )


_NO_COMMIT = re.compile(r"\[WinError 1455\]")
"""ERROR_COMMITMENT_LIMIT; the words after it are in the language of Windows."""


@check(PAGING_FILE_TOO_SMALL)
def paging_file_is_too_small(
    imported: TorchImport | None, companions: CompanionImports | None
) -> Findings:
    """Windows promises each process the memory of its libraries at once, used or not."""
    failures = [one for one in failures_of(imported, companions) if _NO_COMMIT.search(one.text)]
    if not failures:
        return
    first = failures[0]
    yield PAGING_FILE_TOO_SMALL.finding(
        breaks=tuple(one.outcome for one in failures),
        evidence=(
            Evidence(
                label=first.outcome.replace(":", " "), value=first.text, source="the exception"
            ),
        ),
        fixes=(
            Fix(
                summary="enlarge the paging file, or let Windows manage it on a disk with room: "
                "System properties, Advanced, Performance, Virtual memory",
                commands=("SystemPropertiesPerformance.exe",),
            ),
            Fix(
                summary="or start fewer processes that import torch, such as workers of a "
                "DataLoader; or install a build for the CPU, whose libraries are small"
            ),
        ),
        notes=("each process that imports a CUDA build is promised some gigabytes",),
    )


# --- room for files ---

_ROOM_BYTES = 64 << 20
"""The kernels of one compiled network and their compiler's own files are some tens of MB."""

_FILE_BYTES = 4096
"""tempfile goes on to the next folder where it cannot write a few bytes."""


_SAID = re.compile("No usable temporary directory found")


@check(NO_TEMPORARY_FOLDER)
def no_temporary_folder(
    folders: TemporaryFolders,
    imported: TorchImport | None,
    companions: CompanionImports | None,
    site: Site,
) -> Findings:
    """The folder that Python would choose is full, or there is none."""
    chosen = next((one for one in folders.items if _takes_a_file(one)), None)
    free = (chosen.free_bytes or 0) if chosen else 0
    if not folders.items or free >= _ROOM_BYTES:
        return
    broken = [one for one in failures_of(imported, companions) if _SAID.search(one.text)]
    yield NO_TEMPORARY_FOLDER.finding(
        severity=Severity.ERROR if broken else None,
        breaks=(*(one.outcome for one in broken), "compile"),
        subjects=((chosen or folders.items[0]).path,),
        what=f"`{chosen.path}` has {free / 2**20:.0f} MiB left"
        if chosen
        else "no folder takes a file",
        evidence=tuple(
            Evidence(label=one.path, value=_space_of(one), source="statvfs")
            for one in folders.items
        ),
        fixes=(
            system.room_for_temporary_files(
                site,
                folders.items[0].path,
                full=any(one.free_bytes is not None for one in folders.items),
            ),
        ),
        notes=(
            "Python then raises `No usable temporary directory found` or `No space left on device`",
        ),
    )


def _takes_a_file(folder: TemporaryFolder) -> bool:
    return (folder.free_bytes or 0) >= _FILE_BYTES and folder.free_files != 0


def _space_of(folder: TemporaryFolder) -> str:
    if folder.free_bytes is None:
        return "missing, or closed to this user"
    if folder.free_files == 0:
        return "no more files"
    return f"{folder.free_bytes / 2**20:.1f} MiB free"
