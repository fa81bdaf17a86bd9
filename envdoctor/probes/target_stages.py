"""The stages of the probe in the target interpreter (Python 3.8 or later, standard library only).

Executed by target.py with FD and STAGES set. Every stage writes a line before it begins and one
when it ends, so that a death names its stage. Modules that this file needs are imported from the
standard library's own folder and dropped from `sys.modules` afterwards: what the target finds
under the name `json`, say, is then what the user's own program would find.
"""

import os
import sys

FD = globals()["FD"]
STAGES = globals()["STAGES"]
os.set_inheritable(FD, False)


def import_own_modules(*names):
    """Import modules of the standard library past whatever shadows them for the target."""
    before, path = set(sys.modules), sys.path[:]
    stdlib = os.path.dirname(os.__file__)
    sys.path[:] = [stdlib, os.path.join(stdlib, "lib-dynload")] + [
        entry for entry in path if entry.endswith(".zip")
    ]
    try:
        return [__import__(name) for name in names]
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            del sys.modules[name]


faulthandler, json, time, traceback = import_own_modules(
    "faulthandler", "json", "time", "traceback"
)
faulthandler.enable()

STDLIB = os.path.dirname(os.__file__)
MAX_TEXT = 8000


def write(stage, event, seconds=0.0, **data):
    line = json.dumps({"stage": stage, "event": event, "seconds": seconds, "data": data})
    payload = (line + "\n").encode("utf-8", "backslashreplace")
    while payload:
        payload = payload[os.write(FD, payload) :]


def describe(error):
    """An exception as data: its type, its text, its causes' texts, and the traceback's lines."""
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
    }


def exit_code(error):
    """The code with which a SystemExit would end the interpreter, else None."""
    if not isinstance(error, SystemExit):
        return None
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def attempt(function, *arguments):
    """A value and None, or None and the text of the exception."""
    try:
        return function(*arguments), None
    except Exception as error:
        return None, ("%s: %s" % (type(error).__name__, error))[:MAX_TEXT]


# --- interpreter ---


def stage_interpreter():
    platform, site, sysconfig = import_own_modules("platform", "site", "sysconfig")
    return {
        "executable": sys.executable,
        "version": platform.python_version(),
        "version_info": list(sys.version_info[:3]),
        "implementation": platform.python_implementation(),
        "soabi": sysconfig.get_config_var("SOABI"),
        "machine": platform.machine(),
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "sys_path": list(sys.path),
        "site_packages": attempt(site.getsitepackages)[0] or [],
        "user_site": attempt(site.getusersitepackages)[0],
        "user_site_enabled": bool(site.ENABLE_USER_SITE),
        "safe_path": bool(getattr(sys.flags, "safe_path", False)),
        "stdlib": STDLIB,
        "cwd": attempt(os.getcwd)[0] or "",
        "conda_prefix": sys.prefix
        if os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
        else None,
        "externally_managed": os.path.exists(
            os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
        ),
        "glibc": " ".join(platform.libc_ver()).strip() or None,
    }


def stage_static_interpreter():
    """As `interpreter`, under -S: sites are added, no import line of a .pth file is executed."""
    (site,) = import_own_modules("site")
    site.addpackage = add_path_lines
    site.execsitecustomize = site.execusercustomize = lambda: None
    site.main()
    return stage_interpreter()


def add_path_lines(sitedir, name, known_paths):
    """What `site.addpackage` does with the lines of a .pth file that are paths."""
    try:
        with open(os.path.join(sitedir, name), encoding="utf-8", errors="replace") as lines:
            entries = [line.strip() for line in lines]
    except OSError:
        return known_paths
    for entry in entries:
        if not entry or entry.startswith(("#", "import ", "import\t")):
            continue
        path = os.path.abspath(os.path.join(sitedir, entry))
        if os.path.exists(path) and path not in sys.path:
            sys.path.append(path)
    return known_paths


# --- torch ---


def stage_import():
    started = time.perf_counter()
    import torch

    return {
        "file": getattr(torch, "__file__", None),
        "version": str(getattr(torch, "__version__", "")) or None,
        "import_seconds": time.perf_counter() - started,
        "shadowed": hidden_stdlib_modules(),
    }


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


def stage_runtime():
    import torch

    built_for_gpu = bool(torch.version.cuda or getattr(torch.version, "hip", None))
    cuda_error = attempt(torch.cuda.init)[1] if built_for_gpu else None
    available, _ = attempt(torch.cuda.is_available)
    count = (attempt(torch.cuda.device_count)[0] or 0) if available else 0
    cudnn, cudnn_error = attempt(torch.backends.cudnn.version) if built_for_gpu else (None, None)
    numpy_error = attempt(lambda: torch.zeros(1).numpy())[1]
    numpy = sys.modules.get("numpy")
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "hip": getattr(torch.version, "hip", None),
        "cuda_available": bool(available),
        "device_count": count,
        "devices": [device for device in map(describe_device, range(count)) if device],
        "cuda_error": cuda_error,
        "cudnn_version": cudnn,
        "cudnn_error": cudnn_error,
        "nccl_version": nccl_version(torch) if built_for_gpu else None,
        "cudart_version": cudart_version() if built_for_gpu else None,
        "arch_list": compiled_for(torch),
        "cpu_capability": attempt(lambda: torch.backends.cpu.get_cpu_capability())[0],
        "threads": attempt(torch.get_num_threads)[0],
        "numpy_version": getattr(numpy, "__version__", None),
        "numpy_error": numpy_error,
        "mps_available": bool(attempt(lambda: torch.backends.mps.is_available())[0]),
        "cxx11_abi": attempt(torch.compiled_with_cxx11_abi)[0],
    }


def describe_device(index):
    import torch

    properties, _ = attempt(torch.cuda.get_device_properties, index)
    if properties is None:
        return None
    uuid = getattr(properties, "uuid", None)
    return {
        "index": index,
        "name": properties.name,
        "compute_capability": "%d.%d" % (properties.major, properties.minor),
        "memory_bytes": properties.total_memory,
        "uuid": None if uuid is None else str(uuid),
    }


def compiled_for(torch):
    """`get_arch_list()` is empty without a GPU on older releases; the flags behind it are not."""
    flags, _ = attempt(lambda: torch._C._cuda_getArchFlags())
    return flags.split() if flags else []


def nccl_version(torch):
    version, _ = attempt(lambda: torch.cuda.nccl.version())
    if isinstance(version, int):
        # Before 2.9 NCCL_VERSION_CODE was major * 1000 + minor * 100 + patch (nccl.h).
        scale = 10000 if version >= 10000 else 1000
        return "%d.%d.%d" % (version // scale, version % scale // 100, version % 100)
    return None if version is None else ".".join(map(str, version))


def cudart_version():
    """cudaRuntimeGetVersion of the libcudart that is loaded; it needs no GPU."""
    import ctypes

    path = next((path for path in mapped_files() if "libcudart" in os.path.basename(path)), None)
    if path is None:
        return None
    version = ctypes.c_int()
    library, _ = attempt(ctypes.CDLL, path)
    if library is None or library.cudaRuntimeGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value


def stage_first_use():
    import torch

    devices = ["cpu"]
    if attempt(torch.cuda.is_available)[0]:
        devices += ["cuda:%d" % index for index in range(torch.cuda.device_count())]
    return {"operations": [use(torch, device, what) for device in devices for what in OPERATIONS]}


def matmul_is_right(torch, device):
    ones = torch.ones(64, 64, device=device)
    return bool(((ones @ ones) == 64).all().item())


def convolution_is_right(torch, device):
    image, kernel = torch.ones(1, 3, 8, 8, device=device), torch.ones(4, 3, 3, 3, device=device)
    return bool((torch.nn.functional.conv2d(image, kernel) == 27).all().item())


OPERATIONS = {"matmul": matmul_is_right, "convolution": convolution_is_right}


def use(torch, device, operation):
    started = time.perf_counter()
    right, error = attempt(OPERATIONS[operation], torch, device)
    if error is None and not right:
        error = "wrong result"
    seconds = time.perf_counter() - started
    return {"device": device, "operation": operation, "error": error, "seconds": seconds}


def stage_maps():
    return {"paths": mapped_files()}


def mapped_files():
    """The shared objects that are mapped into this process, in the order of their addresses."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            lines = [line.rstrip("\n").split(None, 5) for line in maps]
    except OSError:
        return []
    files = [fields[5] for fields in lines if len(fields) == 6 and fields[5].startswith("/")]
    return [path for path in dict.fromkeys(files) if ".so" in os.path.basename(path)]


# --- running them ---


def run(stage):
    """One stage; False if it raised, for then those after it have nothing to stand on."""
    write(stage, "begin")
    started = time.perf_counter()
    try:
        data = globals()["stage_" + stage]()
    except BaseException as error:
        report = describe(error)
        report["shadowed"] = hidden_stdlib_modules()
        write(stage, "raised", time.perf_counter() - started, **report)
        return False
    write(stage, "end", time.perf_counter() - started, **data)
    return True


for name in STAGES:
    if not run(name) and name == "import":
        break
write("exit", "end")
