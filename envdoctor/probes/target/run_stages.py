"""Runs stages in the target interpreter (Python 3.8 or later, standard library only).

Executed by start.py with FD and REQUESTS set. A request is a line of JSON: the
stage's name, the file and the function that make it, and the stages whose success it needs. Every
stage writes a line before it begins and one when it ends, so that a death names its stage; the last
line is written before the interpreter exits, so that a death after it is one at exit.

Modules that this file needs are imported from the standard library's own folder and dropped from
`sys.modules` afterwards: what the target finds under the name `json`, say, is then what the user's
own program would find.
"""

import os
import sys

FD, REQUESTS = globals()["FD"], globals()["REQUESTS"]
os.set_inheritable(FD, False)
os.set_inheritable(REQUESTS, False)

STDLIB = os.path.dirname(os.__file__)
MAX_TEXT = 8000


def import_own_modules(*names):
    """Import modules of the standard library past whatever shadows them for the target."""
    before, path = set(sys.modules), sys.path[:]
    sys.path[:] = [STDLIB, os.path.join(STDLIB, "lib-dynload")] + [
        entry for entry in path if entry.endswith(".zip")
    ]
    try:
        return [__import__(name) for name in names]
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            del sys.modules[name]


faulthandler, json, signal, time = import_own_modules("faulthandler", "json", "signal", "time")
faulthandler.enable()
# How the doctor asks a stage that does not end where it is.
faulthandler.register(signal.SIGUSR2, all_threads=True)


def write(stage, event, seconds=0.0, **data):
    line = json.dumps({"stage": stage, "event": event, "seconds": seconds, "data": data})
    payload = (line + "\n").encode("utf-8", "backslashreplace")
    while payload:
        payload = payload[os.write(FD, payload) :]


def describe(error):
    """An exception as data: its type, its text, its causes' texts, and the traceback's lines."""
    (traceback,) = import_own_modules("traceback")
    frames = [
        {"file": frame.filename, "line": frame.lineno or 0, "function": frame.name}
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen importlib", os.path.dirname(sys.argv[0])))
    ]
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "exceptions") else kind.__module__ + "."
    try:
        text = str(error)
    except Exception as unprintable:
        text = "<unprintable: %s>" % type(unprintable).__name__
    cause = error.__cause__ or error.__context__
    return {
        "exception": module + kind.__qualname__,
        "message": text[:MAX_TEXT],
        "cause": "" if cause is None else ("%s: %s" % (type(cause).__name__, cause))[:MAX_TEXT],
        "frames": frames[-12:],
        "exits": isinstance(error, SystemExit),
        "exit_code": exit_code(error),
        "shadowed": hidden_stdlib_modules(),
    }


def exit_code(error):
    """The code with which a SystemExit would end the interpreter, else None."""
    if not isinstance(error, SystemExit):
        return None
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def stdlib_names():
    """The top-level names of the standard library; listed from its folder before Python 3.10."""
    names = getattr(sys, "stdlib_module_names", None)
    if names:
        return set(names)
    listed = {entry.partition(".")[0] for entry in os.listdir(STDLIB)}
    return listed.union(sys.builtin_module_names) - {"site-packages", "lib-dynload", "__pycache__"}


def hidden_stdlib_modules():
    """Imported modules that hide one of the standard library, as `name (file)`."""
    names = stdlib_names()
    found = []
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name not in names or not file or name in ("sitecustomize", "usercustomize"):
            continue
        folder = os.path.dirname(os.path.realpath(file))
        inside = folder.startswith(os.path.realpath(STDLIB)) and "site-packages" not in folder
        if not inside and "lib-dynload" not in folder:
            found.append("%s (%s)" % (name, os.path.abspath(file)))
    return found


class Child:
    """What a stage's function is given: how to look without disturbing the target."""

    stdlib = STDLIB
    import_own_modules = staticmethod(import_own_modules)
    hidden_stdlib_modules = staticmethod(hidden_stdlib_modules)
    describe = staticmethod(describe)
    clock = staticmethod(time.perf_counter)

    @staticmethod
    def attempt(function, *arguments):
        """A value and None, or None and the text of the exception."""
        try:
            return function(*arguments), None
        except Exception as error:
            return None, ("%s: %s" % (type(error).__name__, error))[:MAX_TEXT]

    @staticmethod
    def mapped_files():
        """The shared objects that are mapped into this process, in the order of their addresses."""
        try:
            with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
                lines = [line.rstrip("\n").split(None, 5) for line in maps]
        except OSError:
            return []
        files = [fields[5] for fields in lines if len(fields) == 6 and fields[5].startswith("/")]
        return [path for path in dict.fromkeys(files) if ".so" in os.path.basename(path)]


# --- requests ---


def requests():
    """The stages that are asked for, until the doctor asks for none any more."""
    rest = b""
    while True:
        chunk = os.read(REQUESTS, 65536)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


SOURCES = {}


def function_of(request):
    """The function that makes a stage; its file is executed once."""
    path = request["source"]
    if path not in SOURCES:
        names = {"__name__": "envdoctor_stages", "__file__": path}
        with open(path, "rb") as source:
            exec(compile(source.read(), path, "exec"), names)
        SOURCES[path] = names
    return SOURCES[path][request["function"]]


def run(request):
    """One stage; whether it ended without an exception."""
    stage = request["name"]
    write(stage, "begin")
    started = time.perf_counter()
    try:
        data = function_of(request)(Child)
        write(stage, "end", time.perf_counter() - started, **data)
    except BaseException as error:
        write(stage, "raised", time.perf_counter() - started, **describe(error))
        return False
    return True


FAILED = set()
for REQUEST in requests():
    if not FAILED.isdisjoint(REQUEST["needs"]) or not run(REQUEST):
        FAILED.add(REQUEST["name"])
write("exit", "begin")
