"""What `import torch` and its first use make the loader do, step by step."""

import glob
import os
from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from envdoctor.facts.libraries import OpenedAt, OpenedBy, Problem
from envdoctor.knowledge.libraries import Dlopen, LibraryCatalogue
from envdoctor.loader.elf import Elf
from envdoctor.loader.preload import PreloadPlan, Step, read_plan
from envdoctor.loader.process import MappedObject, Opening, Process, SymbolReader
from envdoctor.loader.search import TORCH_PRELOAD, Files, System
from envdoctor.record import Mutable, Record

_GLOBAL_DEPS = "libtorch_global_deps.so"


class Program(Record):
    """The interpreter and the torch that it would import. `cuda_major` is that of torch's build."""

    executable: Elf
    torch_path: str
    sys_path: tuple[str, ...]
    soabi: str | None = None
    cuda_major: str | None = None


class Entry(Record):
    """One library that was asked for: what came of it, and when and how."""

    asked: str
    when: OpenedAt
    how: OpenedBy
    loaded: MappedObject | None = None
    caller: str = ""
    call: Dlopen | None = None


class Simulation(Mutable):
    """One run. `mapped` are the objects after the import and the version queries;
    `but_for_the_driver` are those that an opening would bring where there is a driver."""

    process: Process
    libraries: LibraryCatalogue
    entries: list[Entry] = msgspec.field(default_factory=list)
    problems: list[Problem] = msgspec.field(default_factory=list)
    preload_problems: list[Problem] = msgspec.field(default_factory=list)
    import_error: str | None = None
    mapped: tuple[MappedObject, ...] = ()
    but_for_the_driver: list[MappedObject] = msgspec.field(default_factory=list)
    caller: MappedObject | None = None

    def note(self, opening: Opening, *, when: OpenedAt, how: OpenedBy) -> None:
        """Record what an opening brought, and what was missing in it."""
        for loaded in opening.added:
            kind = how if loaded is opening.root else "needed"
            self.entries.append(Entry(asked=loaded.asked, when=when, how=kind, loaded=loaded))
        self.problems += opening.problems


def simulate(
    program: Program,
    system: System,
    files: Files,
    symbols: SymbolReader,
    libraries: LibraryCatalogue,
) -> Simulation:
    """Start the interpreter, import torch, ask for versions, and use a GPU; on paper."""
    process = Process(system, files, symbols)
    run = Simulation(process=process, libraries=libraries)
    started = process.start(program.executable)
    run.note(started, when="start", how="preload")
    run.preload_problems = [p for p in started.problems if p.needed_by == process.main.path]
    run.problems = []
    run.import_error = started.fatal or None
    run.caller = process.find(_python_library(process)) or process.main
    if run.import_error is None:
        _import(program, run)
    run.mapped = tuple(process.mapped)
    if run.import_error is None:
        _later(program, run, ("query",))
        run.mapped = tuple(process.mapped)
        _later(program, run, ("query", "use"))
    return run


def _python_library(process: Process) -> str:
    names = (one.elf.soname or "" for one in process.mapped)
    return next((name for name in names if name.startswith("libpython")), "")


def _import(program: Program, run: Simulation) -> None:
    lib = os.path.join(program.torch_path, "lib")
    plan = read_plan(os.path.join(program.torch_path, "__init__.py"))
    if os.path.lexists(os.path.join(lib, _GLOBAL_DEPS)):
        run.import_error = _load_global_deps(program, run, os.path.join(lib, _GLOBAL_DEPS), plan)
    extension = extension_module(program)
    if extension is None or run.caller is None:
        return
    if run.import_error is not None:
        _would_be(run, extension)
        return
    opening = run.process.dlopen(extension, run.caller)
    run.note(opening, when="import", how="needed")
    run.import_error = opening.fatal or None


def _would_be(run: Simulation, extension: str) -> None:
    """What the extension would find if torch came so far; listed, and not counted as mapped."""
    assert run.caller is not None
    before = list(run.process.mapped)
    run.note(run.process.dlopen(extension, run.caller), when="import", how="needed")
    run.process.mapped = before


def extension_module(program: Program) -> str | None:
    """torch's compiled module: the one for this interpreter, else any."""
    folder = glob.escape(program.torch_path)
    if program.soabi:
        exact = os.path.join(program.torch_path, f"_C.{program.soabi}.so")
        if os.path.lexists(exact):
            return exact
    return next(iter(sorted(glob.glob(os.path.join(folder, "_C.*.so")))), None)


def _load_global_deps(
    program: Program, run: Simulation, path: str, plan: PreloadPlan
) -> str | None:
    """`_load_global_deps` of torch; the error that the import ends with, or None."""
    ctypes = _load_ctypes(program, run)
    first = run.process.dlopen(path, ctypes, everywhere=True)
    if first.ok:
        run.note(first, when="import", how="preload")
        if plan.needle is None or _is_mapped(run.process, plan.needle):
            _preload(plan.always, plan, program, run, ctypes)
        return None
    if not plan.handles(first.fatal):
        run.note(first, when="import", how="preload")
        return first.fatal
    error = _preload(plan.fallback, plan, program, run, ctypes)
    if error is not None:
        run.note(first, when="import", how="preload")
        return error
    second = run.process.dlopen(path, ctypes, everywhere=True)
    run.note(second, when="import", how="preload")
    return second.fatal or None


def _load_ctypes(program: Program, run: Simulation) -> MappedObject:
    """The module from which ctypes calls dlopen; its RPATH chain is the one that counts."""
    assert run.caller is not None
    for folder in program.sys_path:
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), "_ctypes.*.so"))):
            opening = run.process.dlopen(path, run.caller)
            if opening.root is not None and opening.ok:
                run.note(opening, when="import", how="needed")
                return opening.root
    return run.caller


def _is_mapped(process: Process, needle: str) -> bool:
    return any(needle in os.path.realpath(one.path) for one in process.mapped)


def _preload(
    steps: Sequence[Step],
    plan: PreloadPlan,
    program: Program,
    run: Simulation,
    ctypes: MappedObject,
) -> str | None:
    """Load by path, in order; the first failure ends it, as in torch."""
    for step in steps:
        if not step.applies(program.cuda_major):
            continue
        path = plan.locate(step, program.sys_path, program.cuda_major)
        if path is None:
            if step.required:
                return f"{step.pattern} not found in the system path"
            continue
        opening = run.process.dlopen(path, ctypes, rule=TORCH_PRELOAD)
        if not opening.ok:
            run.preload_problems += opening.problems
            return opening.fatal
        run.note(opening, when="import", how="preload")
    return None


def _later(program: Program, run: Simulation, moments: tuple[str, ...]) -> None:
    """The dlopens of the mapped libraries; those that they bring in make their own."""
    done: set[tuple[int, str]] = set()
    while True:
        pending = [
            (one, call, name)
            for one, call, name in _calls(program, run)
            if (id(one), name) not in done and call.when in moments
        ]
        if not pending:
            return
        done |= {(id(caller), name) for caller, _, name in pending}
        for caller, call, name in pending:
            _open_later(run, caller, call, name)


def _calls(program: Program, run: Simulation) -> Iterator[tuple[MappedObject, Dlopen, str]]:
    for one in (*run.process.mapped, *run.but_for_the_driver):
        soname = one.elf.soname or os.path.basename(one.path)
        version_in = partial(run.process.files.version_after, one.path)
        for call, name in run.libraries.opened_by(soname, program.cuda_major, version_in):
            yield one, call, name


def _open_later(run: Simulation, caller: MappedObject, call: Dlopen, name: str) -> None:
    if run.process.find(name) is not None:
        return
    opening = run.process.dlopen(name, caller)
    if opening.problems and all(run.libraries.is_of_driver(it.library) for it in opening.problems):
        run.but_for_the_driver += opening.added
    for loaded in opening.added:
        is_root = loaded is opening.root
        run.entries.append(
            Entry(
                asked=loaded.asked,
                when=call.when,
                how="dlopen" if is_root else "needed",
                loaded=loaded,
                caller=caller.path if is_root else "",
                call=call,
            )
        )
    if opening.root is None and not call.optional:
        run.entries.append(
            Entry(asked=name, when=call.when, how="dlopen", caller=caller.path, call=call)
        )
    if run.libraries.is_of_driver(name) or (call.optional and opening.root is None):
        return
    run.problems += [one for one in opening.problems if not run.libraries.is_of_driver(one.library)]
