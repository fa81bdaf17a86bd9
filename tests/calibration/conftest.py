"""The tests that measure need a torch beside the doctor."""

from importlib.util import find_spec

collect_ignore = (
    []
    if find_spec("torch")
    else ["test_decisions.py", "test_gpu_path.py", "test_resnet50.py", "test_worker.py"]
)
