"""The interpreters of two sides, and what they import from where."""

from collections.abc import Iterator

from envdoctor.compare.pair import Found, Pair, Swap, swap_fields
from envdoctor.compare.records import Difference, Weight
from envdoctor.facts.machine import Environment, Host
from envdoctor.facts.python import Installer, Interpreter
from envdoctor.facts.torch import TorchImport
from envdoctor.findings import Layer

_IMPORT = ("import:torch",)

ON_SYS_PATH = "sys.path "
"""How the names of differences begin that are an entry of the module path."""


def differences(pair: Pair) -> Iterator[Found]:
    """The version and kind of Python, its module path, and who manages the environment."""
    yield from _version(pair)
    yield from _kind(pair)
    yield from _module_path(pair)
    yield from _imported_from(pair)
    yield from _installer(pair)


def _version(pair: Pair) -> Iterator[Found]:
    first, second = (side.report.stack.python for side in (pair.first, pair.second))
    if first is None or second is None or first == second:
        return
    minor = first.split(".")[:2] != second.split(".")[:2]
    yield _of_python(
        "Python",
        f"Python {pair.each(first, second)}",
        (first, second),
        "matters" if minor else "little",
        swap_fields(Interpreter),
    )


_SETTINGS: tuple[tuple[str, str, Weight], ...] = (
    ("implementation", "the implementation of Python", "stops"),
    ("machine", "Python is built for", "stops"),
    ("user_site_enabled", "the user's own site-packages are on the path", "matters"),
    ("safe_path", "the current folder is kept off the module path", "matters"),
    ("externally_managed", "the system manages this Python", "little"),
)


def _kind(pair: Pair) -> Iterator[Found]:
    both = pair.both(Interpreter)
    if both is None:
        return
    for field, what, weight in _SETTINGS:
        first, second = (getattr(one, field) for one in both)
        if first == second or (field == "machine" and _machines_differ(pair)):
            continue
        words = f"{what} {pair.each(str(first), str(second))}"
        if isinstance(first, bool):
            words = f"{what} {pair.names.at_first if first else pair.names.at_second} alone"
        yield _of_python(
            field, words, (str(first), str(second)), weight, swap_fields(Interpreter, field)
        )
    threads = [_is_free_threaded(one) for one in both]
    if threads[0] != threads[1]:
        yield _of_python(
            "free threading",
            f"a free-threaded Python {pair.only(threads[0])}",
            (str(threads[0]), str(threads[1])),
            "stops",
            swap_fields(Interpreter, "soabi"),
        )


def _machines_differ(pair: Pair) -> bool:
    both = pair.both(Host)
    return both is not None and both[0].machine != both[1].machine


def _is_free_threaded(interpreter: Interpreter) -> bool:
    """By the `t` of the ABI: cpython-313t-x86_64-linux-gnu (PEP 703)."""
    return (interpreter.soabi or "").partition("-")[2].partition("-")[0].endswith("t")


def _of_python(
    name: str,
    sentence: str,
    values: tuple[str, str],
    weight: Weight,
    swap: Swap | None,
    words: tuple[str, ...] = (),
) -> Found:
    return Found(
        difference=Difference(
            part="python",
            name=name,
            sentence=sentence,
            first=values[0],
            second=values[1],
            weight=weight,
            layer=Layer.INTERPRETER,
            can_break=_IMPORT,
        ),
        swap=swap,
        words=words,
    )


def _module_path(pair: Pair) -> Iterator[Found]:
    """Entries of sys.path that one side alone has, wherever its environment lies."""
    both = pair.both(Interpreter)
    if both is None:
        return
    sides = [_entries(pair, number, one) for number, one in enumerate(both)]
    for number, (own, other) in enumerate((sides, sides[::-1])):
        for mapped, entry in own.items():
            if mapped in other:
                continue
            yield Found(
                difference=Difference(
                    part="python",
                    name=f"{ON_SYS_PATH}{entry}",
                    sentence=f"`{entry}` {pair.only(number == 0, 'is on sys.path')}",
                    first=entry if number == 0 else None,
                    second=entry if number == 1 else None,
                    weight="matters",
                    layer=Layer.INTERPRETER,
                    can_break=_IMPORT,
                    follows=_PYTHONPATH if _is_of_variable(pair, number, entry) else "",
                ),
                swap=swap_fields(Interpreter, "sys_path"),
                words=(entry,) if len(entry) > 1 else (),
            )


_PYTHONPATH = "PYTHONPATH"


def _is_of_variable(pair: Pair, number: int, entry: str) -> bool:
    """Whether the variable puts it there, which is a difference by itself."""
    environment = (pair.first, pair.second)[number].value(Environment)
    value = environment.variables.get(_PYTHONPATH, "") if environment else ""
    return entry in value.split(":") and pair.both(Environment) is not None


_OF_ITSELF = ("<stdlib>", "<site>", "<user site>", "<env>", "<base>")


def _entries(pair: Pair, number: int, interpreter: Interpreter) -> dict[str, str]:
    """The entries by what they are on any machine; those of the Python itself are left out."""
    found: dict[str, str] = {}
    for entry in interpreter.sys_path:
        mapped = pair.places[number].entry(entry)
        own = mapped.startswith(_OF_ITSELF) or mapped.endswith(_OF_THE_LIBRARY)
        if entry and not own:
            found.setdefault(mapped, entry)
    return found


_OF_THE_LIBRARY = ("/python3", "/lib-dynload", ".zip", "/site-packages", "/dist-packages")


def _imported_from(pair: Pair) -> Iterator[Found]:
    """Which file `import torch` finds, and what stands in place of modules that it needs."""
    both = pair.both(TorchImport)
    if both is None or True in pair.is_partial:
        return
    files = [_place(pair, number, one) for number, one in enumerate(both)]
    shadowed = [", ".join(one.shadowed) for one in both]
    if None not in files and files[0] != files[1]:
        first, second = (one.file or "" for one in both)
        yield _of_python(
            "file of torch",
            f"torch is imported from {pair.each(f'`{first}`', f'`{second}`')}",
            (first, second),
            "stops",
            swap_fields(TorchImport, "file", "version"),
            (first, second),
        )
    if shadowed[0] != shadowed[1]:
        first, second = (one or "nothing" for one in shadowed)
        yield _of_python(
            "shadowed modules",
            f"in place of modules that torch needs: {pair.each(first, second)}",
            (first, second),
            "stops",
            swap_fields(TorchImport, "shadowed"),
            tuple(one.partition(" ")[0] for imported in both for one in imported.shadowed),
        )


def _place(pair: Pair, number: int, imported: TorchImport) -> str | None:
    """Where it lies; whichever site-packages that is, it is the environment's own."""
    if imported.file is None:
        return None
    mapped = pair.places[number].entry(imported.file)
    return (
        "<site>"
        if "/site-packages/" in mapped or "/dist-packages/" in mapped
        else (mapped.replace("<user site>", "<site>").partition("/torch/")[0])
    )


def _installer(pair: Pair) -> Iterator[Found]:
    both = pair.both(Installer)
    if both is None or both[0].name == both[1].name:
        return
    first, second = (one.name for one in both)
    yield _of_python(
        "installer",
        f"the environment is managed by {pair.each(first, second)}",
        (first, second),
        "little",
        swap_fields(Installer),
    )
