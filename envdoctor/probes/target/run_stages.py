"""Runs stages in the target interpreter (Python 3.8 or later, standard library only).

Executed by start.py with FD, REQUESTS and LOG set. A request is a line that is a Python literal:
the stage's name, the file and the function that make it, and the stages whose success it needs.
Every stage writes a line of JSON before it begins and one when it ends, so that a death names its
stage; the last line is written before the interpreter exits, so that a death after it is one at
exit.

Modules that this file needs are built into the interpreter, or are imported from the standard
library's own folder and dropped from `sys.modules` afterwards: what the target finds under the name
`json`, say, is then what the user's own program would find, and is imported once. Nothing here
trusts what the target left behind: a module may be anything, and may raise when it is looked at.
"""

import os
import sys

FD, REQUESTS, LOG = globals()["FD"], globals()["REQUESTS"], globals()["LOG"]
os.set_inheritable(FD, False)
os.set_inheritable(REQUESTS, False)

STDLIB = os.path.dirname(os.__file__)
OWN_FOLDER = os.path.dirname(sys.argv[0])
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


faulthandler, signals, time = import_own_modules("faulthandler", "_signal", "time")
faulthandler.enable(2)
# How the doctor asks a stage that does not end where it is.
faulthandler.register(signals.SIGUSR2, file=2, all_threads=True)


# --- JSON, without the module, which would import `re` and `enum` a second time for the target ---

ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
MAX_DEPTH = 20
LARGEST = 2**63


def encoded(value, depth=0):
    """A value as JSON in ASCII. What JSON lacks is the name of its type, also a number that is
    larger than 64 bits, and anything deeper than MAX_DEPTH."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return quoted(str.__str__(value))
    if isinstance(value, int) and -LARGEST <= value < LARGEST:
        return int.__repr__(value)
    if isinstance(value, float) and value - value == 0:  # neither infinite nor NaN
        return float.__repr__(value)
    if depth < MAX_DEPTH and isinstance(value, (list, tuple)):
        return "[%s]" % ", ".join([encoded(item, depth + 1) for item in value])
    if depth < MAX_DEPTH and isinstance(value, dict):
        items = ["%s: %s" % (key_of(key), encoded(value[key], depth + 1)) for key in value]
        return "{%s}" % ", ".join(items)
    return quoted(name_of(type(value)))


def name_of(kind):
    """The name of a type, whatever its metaclass makes of that."""
    return type.__dict__["__name__"].__get__(kind)


def key_of(key):
    return encoded(key) if isinstance(key, str) else quoted(encoded(key))


def quoted(text):
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return '"%s"' % text
    return '"%s"' % "".join(map(escaped, text))


def escaped(character):
    code = ord(character)
    if character in ESCAPES:
        return ESCAPES[character]
    if 0x20 <= code < 0x7F:
        return character
    if code <= 0xFFFF:
        return "\\u%04x" % code
    code -= 0x10000
    return "\\u%04x\\u%04x" % (0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF))


def write(stage, event, data="{}", seconds=0.0):
    line = '{"stage": %s, "event": "%s", "seconds": %r, "data": %s, "logged": %d}\n'
    payload = (line % (quoted(stage), event, seconds, data, logged())).encode("ascii")
    while payload:
        payload = payload[os.write(FD, payload) :]


# --- what NVIDIA's driver writes of errors ---


def begin_log():
    """Have the driver, which reads the variable as it is loaded, write into the doctor's file (CUDA
    12.9 and later); whether it does. One that the user has set is his."""
    if "CUDA_LOG_FILE" in os.environ:
        return False
    try:
        # In another namespace of processes the path may be that of another program's file.
        if "envdoctor" not in os.readlink(LOG):
            return False
        os.close(os.open(LOG, os.O_WRONLY | os.O_APPEND))
    except OSError:
        return False
    os.environ["CUDA_LOG_FILE"] = LOG
    return True


def logged():
    """How many bytes the driver has written; -1 where it writes elsewhere, or nowhere."""
    try:
        return os.stat(LOG).st_size if LOGS else -1
    except OSError:
        return -1


LOGS = begin_log()


# --- looking at what the target made, which may raise anything ---


class OwnFault(Exception):
    """A defect of the doctor's own code; its cause says which. No fault of the target."""


def look(function, *arguments):
    """What the doctor's own code says of the target. Raises OwnFault where that fails."""
    try:
        return function(*arguments)
    except BaseException as error:
        raise OwnFault from error


def attribute(owner, name):
    """An attribute; None where there is none, or where the target's code raises at the question."""
    try:
        return getattr(owner, name, None)
    except BaseException:
        return None


def text_of(value):
    """The text of a value, cut to MAX_TEXT; says so where its own code raises."""
    try:
        return str.__str__(str(value))[:MAX_TEXT]
    except BaseException as unprintable:
        return "<unprintable: %s>" % name_of(type(unprintable))


def text_or_none(value):
    """The same; None for what is none, or empty."""
    return None if value is None else text_of(value) or None


def file_of(module):
    """Where a module says that it lies; None where it says nothing usable. Its own code, as that of
    a lazy module, is not run."""
    try:
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except BaseException:
        return None
    return str.__str__(file) if isinstance(file, str) else None


def sentence(error):
    """`ValueError: too long`."""
    return ("%s: %s" % (name_of(type(error)), text_of(error)))[:MAX_TEXT]


def describe(error):
    """An exception as data: its type, its text, its cause's text, and the traceback's lines; less
    where what the target left behind cannot be looked at."""
    try:
        return described(error)
    except BaseException:
        exits = isinstance(error, SystemExit)
        return {
            "exception": name_of(type(error)),
            "message": text_of(error),
            "exits": exits,
            "exit_code": 1 if exits else None,
        }


def described(error):
    kind = type(error)
    module = text_of(attribute(kind, "__module__"))
    prefix = "" if module in ("builtins", "exceptions") else module + "."
    cause = attribute(error, "__cause__") or attribute(error, "__context__")
    return {
        "exception": prefix + text_of(attribute(kind, "__qualname__")),
        "message": text_of(error),
        "cause": "" if cause is None else sentence(cause),
        "frames": frames_of(error)[-12:],
        "exits": isinstance(error, SystemExit),
        "exit_code": exit_code(error),
        "shadowed": hidden_stdlib_modules(),
    }


def frames_of(error):
    """The lines of the target's code in a traceback. The module traceback would read the files."""
    own = ("<frozen importlib", OWN_FOLDER)
    frames, link = [], error.__traceback__
    while link is not None:
        code = link.tb_frame.f_code
        if not code.co_filename.startswith(own):
            line = link.tb_lineno or 0
            frames.append({"file": code.co_filename, "line": line, "function": code.co_name})
        link = link.tb_next
    return frames


def exit_code(error):
    """The code with which a SystemExit would end the interpreter, else None."""
    if not isinstance(error, SystemExit):
        return None
    code = attribute(error, "code")
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def stdlib_names():
    """The top-level names of the standard library; listed from its folder before Python 3.10."""
    names = getattr(sys, "stdlib_module_names", None)
    if names:
        return set(names)
    listed = {entry.partition(".")[0] for entry in os.listdir(STDLIB)}
    return listed.union(sys.builtin_module_names) - {"site-packages", "lib-dynload", "__pycache__"}


def hidden_stdlib_modules():
    """Imported modules that hide one of the standard library, as `name (file)`."""
    names = stdlib_names() - {"sitecustomize", "usercustomize"}
    modules = {key: module for key, module in list(sys.modules.items()) if type(key) is str}
    files = [(name, file_of(modules[name])) for name in sorted(names.intersection(modules))]
    return ["%s (%s)" % (name, absolute(file)) for name, file in files if file and hides(file)]


def hides(file):
    """Whether the file of a module of that name is not the standard library's."""
    folder = os.path.dirname(real(file))
    inside = folder.startswith(real(STDLIB)) and "site-packages" not in folder
    return not inside and "lib-dynload" not in folder


def absolute(path):
    """The path itself where it is none, or where the current folder is gone."""
    try:
        return os.path.abspath(path)
    except (OSError, ValueError):
        return path


def real(path):
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path


class Child:
    """What a stage's function is given: how to look without disturbing the target."""

    stdlib = STDLIB
    import_own_modules = staticmethod(import_own_modules)
    hidden_stdlib_modules = staticmethod(hidden_stdlib_modules)
    describe = staticmethod(describe)
    look = staticmethod(look)
    attribute = staticmethod(attribute)
    text_or_none = staticmethod(text_or_none)
    file_of = staticmethod(file_of)
    clock = staticmethod(time.perf_counter)

    @staticmethod
    def attempt(function, *arguments):
        """A value and None, or None and the text of the exception."""
        try:
            return function(*arguments), None
        except Exception as error:
            return None, sentence(error)

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
            # A literal of the doctor's: nothing can be called in it.
            yield eval(line, {"__builtins__": {}})


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


def data_of(request):
    """What a stage gives, as JSON."""
    data = look(function_of, request)(Child, *request["arguments"])
    if not isinstance(data, dict):
        raise OwnFault from TypeError("a stage gives a dict, not a " + name_of(type(data)))
    return look(encoded, data)


def run(request):
    """One stage; whether it ended without an exception."""
    stage = request["name"]
    write(stage, "begin")
    started = time.perf_counter()
    try:
        data, event = data_of(request), "end"
    except OwnFault as fault:
        data, event = encoded(describe(fault.__cause__)), "unable"
    except BaseException as error:
        data, event = encoded(describe(error)), "raised"
    write(stage, event, data, time.perf_counter() - started)
    return event == "end"


FAILED = set()
for REQUEST in requests():
    if not FAILED.isdisjoint(REQUEST["needs"]) or not run(REQUEST):
        FAILED.add(REQUEST["name"])
write("exit", "begin")
