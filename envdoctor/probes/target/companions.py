"""Stages that import PyTorch's domain libraries (Python 3.8 or later, standard library only).

Each is looked for without importing it, so that one which is not installed costs nothing.
"""


def torchvision(child):
    return imported(child, "torchvision", "torchvision.ops.nms", keeps_the_better_box)


def torchaudio(child):
    return imported(child, "torchaudio")


def torchtext(child):
    return imported(child, "torchtext")


def torchcodec(child):
    return imported(child, "torchcodec")


def keeps_the_better_box(torchvision):
    """The smallest call of an operator that torchvision has compiled against torch."""
    import torch

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9]), 0.5).tolist()
    if kept != [1]:
        raise ValueError("wrong result: kept the boxes %s of two that overlap" % kept)


def is_installed(child, name):
    """Whether there is a package: a folder of that name without one in it is none."""
    (importlib,) = child.import_own_modules("importlib.util")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        # Something that has no spec stands in its place; its import says what.
        return True
    return spec is not None and spec.origin is not None


def imported(child, name, operation="", use=None):
    """What the import of a library did, and its first operation where it has one to try."""
    if not child.look(is_installed, child, name):
        return {"installed": False}
    module = __import__(name)
    found = {
        "installed": True,
        "version": child.text_or_none(child.attribute(module, "__version__")),
        "file": child.file_of(module),
    }
    if use is not None:
        try:
            use(module)
        except Exception as error:
            found.update(child.describe(error), operation=operation)
    return found
