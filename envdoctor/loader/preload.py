"""What torch's own `__init__.py` loads before its extension module, read from its source.

torch loads `libtorch_global_deps.so` for all to see (`_load_global_deps`). From 2.5.1 on it then
loads some or all of the nvidia wheels' libraries by path, so that LD_LIBRARY_PATH cannot replace
them; every release loads them all by path if the first step fails. Which ones, and in which order,
differs between releases (2.6 and 2.8: nvrtc and nvJitLink; 2.13: all), so the installed source
decides.
"""

import ast
import glob
import os
import re
from collections.abc import Iterator, Sequence

from envdoctor.record import Record
from envdoctor.regular_files import only_regular

_FUNCTIONS = ("_load_global_deps", "_preload_cuda_deps", "_preload_cuda_lib", "_get_cuda_dep_paths")
_MOST_CHARACTERS = 4 << 20
"""Of an `__init__.py`; that of torch 2.13 has 0.1 MB."""
_MAPPED_FILE = re.compile(r"\.so\b")


class Step(Record):
    """One library to be loaded by path: the wheel's folder and a glob pattern.

    `since_major` is the CUDA major from which on torch asks for it, where there is a condition.
    """

    folder: str
    pattern: str
    required: bool = True
    since_major: int = 0

    def applies(self, cuda_major: str | None) -> bool:
        """Whether a torch of that CUDA major loads it."""
        return not self.since_major or int(cuda_major or 0) >= self.since_major


class PreloadPlan(Record):
    """`always` is loaded after the global dependencies if `needle` is among the mapped files;
    `fallback` if they fail with the name of one of its libraries in the message."""

    always: tuple[Step, ...] = ()
    needle: str | None = None
    fallback: tuple[Step, ...] = ()
    looks_beside: bool = False
    looks_in_major: bool = False
    needs_nvidia_folder: bool = True

    def handles(self, message: str) -> bool:
        """Whether torch tries the fallback after an error with that message."""
        return any(step.pattern.split(".", 1)[0] in message for step in self.fallback)

    def locate(self, step: Step, sys_path: Sequence[str], cuda_major: str | None) -> str | None:
        """The file that torch takes for a step: the first match on the path of the interpreter."""
        for folder in sys_path:
            if self.needs_nvidia_folder and not os.path.isdir(os.path.join(folder, "nvidia")):
                continue
            found = next(self._matches(folder, step, cuda_major), None)
            if found is not None:
                return found
        return None

    def _matches(self, folder: str, step: Step, cuda_major: str | None) -> Iterator[str]:
        places = [os.path.join(folder, "nvidia", step.folder)]
        if self.looks_in_major and cuda_major:
            places.append(os.path.join(folder, "nvidia", f"cu{cuda_major}"))
        if self.looks_beside:
            places.append(os.path.join(folder, step.folder))
        for place in places:
            # Unsorted, as torch calls it: with two matches both take what the folder lists first.
            yield from glob.glob(os.path.join(glob.escape(place), "lib", step.pattern))


def read_plan(init_file: str) -> PreloadPlan:
    """The plan in that `torch/__init__.py`; an empty one where it is missing or unusual."""
    try:
        with open(init_file, encoding="utf-8", errors="replace", opener=only_regular) as file:
            text = file.read(_MOST_CHARACTERS)
    except OSError:
        return PreloadPlan()
    sources = {name: _source_of(text, name) for name in _FUNCTIONS}
    trees = {name: _parse(source) for name, source in sources.items() if source}
    main = trees.get("_load_global_deps")
    if main is None:
        return PreloadPlan()
    helper = trees.get("_preload_cuda_deps")
    attempt = next((node for node in ast.walk(main) if _is_the_attempt(node)), None)
    table = _table(helper) if helper and _table(helper) else _table(main)
    paths = sources["_get_cuda_dep_paths"] or sources["_preload_cuda_deps"]
    return PreloadPlan(
        always=tuple(_always(attempt, table, helper)) if attempt else (),
        needle=_needle(attempt) if attempt else None,
        fallback=(*table, *_added(main), *_single_calls(helper)),
        looks_beside=bool(re.search(r"join\(path, lib_folder, \"lib\"", paths)),
        looks_in_major='f"cu{' in paths,
        needs_nvidia_folder="os.path.exists(nvidia_path)" in paths,
    )


def _source_of(text: str, function: str) -> str:
    """The source of a top-level function: from its `def` to the next line that is not indented."""
    match = re.search(rf"^def {function}\(.*?(?=^\S(?<!\)))", text, re.MULTILINE | re.DOTALL)
    return match.group() if match else ""


def _parse(source: str) -> ast.AST | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _is_the_attempt(node: ast.AST) -> bool:
    """Whether this is the `try` that loads the global dependencies."""
    return isinstance(node, ast.Try) and any(
        isinstance(statement, ast.Expr) and "CDLL" in ast.unparse(statement)
        for statement in node.body
    )


def _table(tree: ast.AST | None) -> tuple[Step, ...]:
    """The libraries in the first literal that pairs a wheel's folder with a pattern."""
    for node in ast.walk(tree) if tree else ():
        pairs: list[tuple[ast.expr | None, ast.expr]] = []
        if isinstance(node, ast.Dict):
            pairs = list(zip(node.keys, node.values, strict=True))
        elif isinstance(node, ast.List):
            pairs = [(e.elts[0], e.elts[1]) for e in node.elts if _is_pair(e)]  # type: ignore[attr-defined]
        steps = [Step(folder=_text(key), pattern=_text(value)) for key, value in pairs]
        if steps and all(_MAPPED_FILE.search(step.pattern) for step in steps):
            return tuple(steps)
    return ()


def _added(tree: ast.AST) -> Iterator[Step]:
    """Entries that are added to the table below a condition: `cuda_libs["cufile"] = "..."`."""
    for node in ast.walk(tree):
        for statement in node.body if isinstance(node, ast.If) else ():
            if not isinstance(statement, ast.Assign):
                continue
            target = statement.targets[0]
            key = _text(target.slice) if isinstance(target, ast.Subscript) else ""
            pattern = _text(statement.value)
            if key and _MAPPED_FILE.search(pattern):
                yield Step(folder=key, pattern=pattern, since_major=_least(node.test))  # type: ignore[attr-defined]


def _least(test: ast.expr) -> int:
    """12 for the condition `t_major >= 12`; 0 for any other."""
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.GtE):
        bound = test.comparators[0]
        if isinstance(bound, ast.Constant) and isinstance(bound.value, int):
            return bound.value
    return 0


def _is_pair(node: ast.expr) -> bool:
    return isinstance(node, ast.Tuple) and len(node.elts) == 2


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _single_calls(tree: ast.AST | None) -> Iterator[Step]:
    """Calls that name one library: `_preload_cuda_lib("nvtx", "libnvToolsExt.so.*[0-9]", ...)`."""
    for node in ast.walk(tree) if tree else ():
        if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("_preload"):
            continue
        words = [_text(argument) for argument in node.args]
        if len(words) == 2 and all(words):
            yield Step(folder=words[0], pattern=words[1], required=_is_required(node))


def _is_required(call: ast.Call) -> bool:
    return not any(
        keyword.arg == "required"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is False
        for keyword in call.keywords
    )


def _always(attempt: ast.AST, table: tuple[Step, ...], helper: ast.AST | None) -> Iterator[Step]:
    body = ast.Module(body=attempt.body, type_ignores=[])  # type: ignore[attr-defined]
    yield from _single_calls(body)
    for node in ast.walk(body):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_preload_cuda_deps":
            if node.args:
                continue
            required = _is_required(node)
            yield from (Step(folder=s.folder, pattern=s.pattern, required=required) for s in table)
            yield from _single_calls(helper)


def _needle(attempt: ast.AST) -> str | None:
    """The text that torch looks for in /proc/self/maps before it preloads."""
    for node in ast.walk(attempt):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.NotIn):
            text = _text(node.left)
            if _MAPPED_FILE.search(text):
                return text
    return None
