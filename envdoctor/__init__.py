"""envdoctor: finds the root cause when PyTorch and CUDA do not work on a machine."""

__version__ = "0.1.0"
