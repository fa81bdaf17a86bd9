"""Stages that try what is built on torch (Python 3.8 or later, standard library only).

Each is looked for without importing it, so that one which is not installed costs nothing.
"""

import os


def whole(child, name):
    """Import a library, and use it where it has something to try without a GPU."""
    if not child.look(folder_of, child, name):
        return {"installed": False}
    # Where the child before this one died, torch is not loaded yet.
    import torch  # noqa: F401

    module = __import__(name)
    found = {
        "installed": True,
        "version": child.text_or_none(child.attribute(module, "__version__")),
        "file": child.file_of(module),
    }
    operation, use = OPERATIONS.get(name, ("", None))
    if use is not None:
        try:
            use(module)
        except Exception as error:
            found.update(child.describe(error), operation=operation)
    return found


def compiled(child, name, *patterns):
    """Load the compiled modules of a library, without its Python: that takes seconds."""
    folder = child.look(folder_of, child, name)
    if not folder:
        return {"installed": False}
    import torch  # noqa: F401

    ctypes, glob = child.import_own_modules("ctypes", "glob")
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), pattern))):
            try:
                ctypes.CDLL(path)
            except OSError as error:
                operation = "loading %s" % os.path.basename(path)
                return dict(child.describe(error), installed=True, operation=operation)
    return {"installed": True}


def folder_of(child, name):
    """Where a package lies, without importing it; empty where there is none: a folder of that name
    without one in it is none."""
    (importlib,) = child.import_own_modules("importlib.util")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        # Something that has no spec stands in its place; its import says what.
        return "."
    return os.path.dirname(spec.origin) if spec is not None and spec.origin is not None else ""


def keeps_the_better_box(torchvision):
    """The smallest call of an operator that torchvision has compiled against torch."""
    import torch

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9]), 0.5).tolist()
    if kept != [1]:
        raise ValueError("wrong result: kept the boxes %s of two that overlap" % kept)


OPERATIONS = {"torchvision": ("torchvision.ops.nms", keeps_the_better_box)}
