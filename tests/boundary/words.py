"""What inputs of parsers are made of: whole ones to begin with, and words to put into them."""

JSON_WORDS = (
    *(b"null", b"true", b"[]", b"{}", b'""', b"-1", b"0.5", b"1e999", b"NaN", b"9" * 25, b"[[[["),
    *(b'"\\udce9"', b'"\xe4"', b'"\\u0000"', b'"a":', b",", b"}", b'"type":"Observed"', b"\x00"),
)
TEXT_WORDS = (
    *(
        b"\xff",
        "²".encode(),
        "٣".encode(),
        b"9" * 400,
        b"\x00",
        b"\n",
        b"\r",
        b",",
        b'"',
        b"==",
        b"+cu126",
    ),
    *(
        b"1.",
        b".*",
        b"!",
        b"-",
        b" ",
        b"\xf0\x9f\x98\x80",
        b"\xed\xb3\xa9",
        b"torch",
        b"cuda",
        b"gpu",
        b"(",
    ),
)
STAGES = (
    b'{"stage": "import torch", "event": "end", "seconds": 1.5, "data": {"file": "/x/torch/__init__'
    b'.py", "version": "2.6.0", "import_seconds": 1.5, "shadowed": []}}',
    b'{"stage": "import torch", "event": "raised", "seconds": 1, "data": {"exception": "OSError", '
    b'"message": "x", "cause": "", "frames": [{"file": "a", "line": 3, "function": "f"}], '
    b'"exits": false, "exit_code": null, "shadowed": ["random (/x/random.py)"]}}',
    b'{"stage": "torch runtime", "event": "end", "seconds": 1.0, "data": {"version": "2.6.0", '
    b'"cuda": "12.6", "hip": null, "cuda_available": true, "device_count": 1, "devices": [{"index":'
    b' 0, "name": "A100", "compute_capability": "8.0", "memory_bytes": 1, "uuid": null}], '
    b'"cudnn_version": 90100, "nccl_version": "2.21.5", "arch_list": ["sm_80"]}}',
    b'{"stage": "first use", "event": "end", "seconds": 1.0, "data": {"operations": [{"device": '
    b'"cpu", "operation": "matmul", "error": null, "seconds": 0.1}]}}',
    b'{"stage": "import torchvision", "event": "end", "data": {"installed": true, "version": "1"}}',
)
NVML = (
    b'{"status": "ok", "message": "", "driver_release": "535.183.01", "driver_cuda": "12.2", '
    b'"device_count": 1, "unanswered": [{"index": 1, "error": "NVML_ERROR_GPU_IS_LOST"}], "gpus": '
    b'[{"index": 0, "name": "A100", "uuid": "GPU-0", "compute_capability": "8.0", "memory_bytes": '
    b'1, "power_w": 0.5, "throttle_reasons": ["GpuIdle"], "process_pids": [1]}], "library": "/x"}',
    b'{"status": "NVML_ERROR_LIBRARY_NOT_FOUND", "refusal": "/x/libnvidia-ml.so.1: file too short",'
    b' "library": null}',
)
FACTS = (
    b'{"type": "facts", "schema_version": 2, "tool": {"type": "Tool", "name": "x", "version": "1"},'
    b' "captured_at": "x", "facts": {"Nvml": {"type": "Observed", "value": {"type": "Nvml", '
    b'"status": "ok", "driver_release": "1.2"}, "source": "x", "seconds": 0.1}, "Gpus": {"type": '
    b'"Unknown", "reason": "crashed", "detail": "x"}}}',
    b'{"schema_version": 1, "facts": {"Gpus": {"type": "Unknown", "reason": "not-run"}}}',
)
WORKER = (
    b'{"event": "progress", "data": {"phase": "cpu", "message": "m", "fraction": 0.5}}\n'
    b'{"event": "conditions", "data": {"torch_version": "2.6", "threads": 4}}\n'
    b'{"event": "left_out", "data": {"device": "cpu", "reason": "r"}}\n'
    b'{"event": "fatal", "data": {"reason": "no torch"}}\n{"event": "end", "data": {}}\n',
)
JOB = (
    b'{"event": "node", "data": {"own_name": ["127.0.1.1"]}}\n'
    b'{"event": "plan", "data": {"nproc": 1, "backend": "gloo", "torch": "2.13.0", '
    b'"cuda": null, "nccl": null, "python": "3.11.7"}}\n'
    b'{"event": "master", "data": {"endpoints": ["10.0.0.1:29500"], "problem": "", "error": ""}}\n'
    b'{"event": "launched", "data": {"backend": "gloo", "first_rank": 0, "ranks": 1}}\n'
    b'{"event": "phase", "data": {"rank": 0, "phase": "init", "peer": null, "state": "begun"}}\n'
    b'{"event": "phase", "data": {"rank": 0, "phase": "init", "state": "failed", "error": "no", '
    b'"seconds": 0.5}}\n{"event": "ended", "data": {"rank": 0}}\n{"event": "end", "data": {}}\n',
    b'{"event": "launched", "data": {"backend": "nccl", "first_rank": 8, "ranks": 8}}\n'
    b'{"event": "address", "data": {"rank": 1, "interface": "eth0", "endpoint": "10.0.0.2:4000", '
    b'"chosen_by": "host name"}}\n{"event": "link", "data": {"rank": 8, "peer": 1, '
    b'"endpoint": "10.0.0.2:4000", "problem": "refused", "error": "e"}}\n{"event": "seen", "data": '
    b'{"rank": 1, "phase": "pairs", "peer": 8, "error": ""}}\n{"event": "died", "data": {"ranks": '
    b'[[9, "SIGKILL"]]}}\n{"event": "sum", "data": {"rank": 8, "right": true}}\n{"event": '
    b'"bandwidth", "data": {"rank": 8, "value": {"median": 1.0, "low": 0.9, "high": 1.1}, "bytes": '
    b'4194304}}\n{"event": "interfaces", "data": {"rank": 8, "names": ["eth0"]}}\n',
)
MACHINE_WORDS = (
    *(b"\xff", "²".encode(), "٣".encode(), b"9" * 30, b"9" * 5000, b"1.2.3", b"\x00", b"\n", b"\r"),
    *(b",", b"-", b" ", b"\xed\xb3\xa9", b"null", b"[[[[", b'"', b"1e999", b"nvidia", b"x" * 300),
)
SAMPLES = (
    b'{"at": 1.0, "gpu": {"index": 0, "name": "A100", "sm_clock_mhz": 1400, "power_w": 380.5, '
    b'"temperature_c": 60, "throttle_reasons": ["SwPowerCap"], "process_pids": []}}\n'
    b'{"at": 2.0, "gpu": {"index": 0, "name": "A100", "utilization_pct": 99}}\n',
)
BASELINE = (
    b'{"type": "calibration-report", "schema_version": 2, "calibration": {"type": "Calibration", '
    b'"complete": true, "runs": [], "settings": {"devices": ["cpu"]}, "conditions": {"started_at": '
    b'"x", "threads": 4}, "left_out": []}}',
    b'{"type": "facts", "schema_version": 2, "facts": {"Calibration": {"type": "Observed", '
    b'"source": "x", "value": {"type": "Calibration", "complete": true, "runs": [], '
    b'"settings": {}, "conditions": {"started_at": "x"}}}}}',
)
TEXTS = (
    b"libcudnn.so.9: cannot open shared object file: No such file or directory",
    b"/opt/x/torch/lib/libtorch_cuda.so: undefined symbol: ncclCommRegister",
    b"CUDA error: no kernel image is available for execution on the device",
    b"/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /x/y.so)",
    b"numpy<2,>=1.21; python_version < '3.12' and extra == 'x'",
    b'nvidia-cudnn-cu12==9.1.0.70; platform_system == "Linux"',
    b"https://ann:secret@host/simple HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyzabcdefgh /home/ann/x",
    b"password: hunter2hunter2 ann@example.org 10.1.2.3 02:42:ac:11:00:02 gpu-box-7",
)
SECRET_WORDS = (
    *(
        b"ghp_",
        b"sk-",
        b"eyJ",
        b"AKIA",
        b"-----BEGIN RSA PRIVATE KEY-----",
        b"token=",
        b"://",
        b"@",
    ),
    *(b"/home/ann/", b"ann", b"fe80::1", b"\x1b[31m", "\u202e".encode(), b"x" * 300, b".so", b":"),
)
