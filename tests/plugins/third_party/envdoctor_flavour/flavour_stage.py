"""Executed by the interpreter of the target, Python 3.8 or later."""


def flavour(child):
    import torch

    return {"word": torch.FLAVOUR, "imports": torch.IMPORTS.count("x")}
