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


def imported(child, name, operation="", use=None):
    """What the import of a library did, and its first operation where it has one to try."""
    (importlib,) = child.import_own_modules("importlib.util")
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        # Nothing, or a folder of that name without a package in it.
        return {"installed": False}
    module = __import__(name)
    found = {
        "installed": True,
        "version": str(getattr(module, "__version__", "")) or None,
        "file": getattr(module, "__file__", None),
    }
    if use is not None:
        try:
            use(module)
        except Exception as error:
            found.update(child.describe(error), operation=operation)
    return found
