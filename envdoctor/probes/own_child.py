"""Small children in the doctor's own interpreter, for what may hang, crash or take long."""

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from envdoctor.facts import Reason, Unknown
from envdoctor.probes.boundary import Undecodable, json_object
from envdoctor.probes.channel import anonymous_file, read_all
from envdoctor.probes.context import Context

_HERE = Path(__file__).parent
_MAX_ANSWER_BYTES = 64 << 20


def ask(
    script: str, context: Context, *, limit_s: float, job: object = None
) -> dict[str, Any] | Unknown:
    """The JSON object that a script beside this file writes, or why there is none.

    It is called with the descriptor for its answer and, if there is a `job`, one that holds it as
    JSON, and starts with nothing but the standard library.
    """
    with ExitStack() as stack:
        answer = stack.enter_context(anonymous_file())
        fds = [answer]
        if job is not None:
            fds.append(stack.enter_context(anonymous_file()))
            # Names of files that are no text are surrogates, which only this module can write.
            os.write(fds[1], json.dumps(job).encode())
            os.lseek(fds[1], 0, os.SEEK_SET)
        child = context.run(
            [sys.executable, "-I", "-B", "-S", str(_HERE / script), *map(str, fds)],
            timeout_s=limit_s,
            pass_fds=fds,
        )
        written = read_all(answer)
    if child.timed_out:
        return Unknown(
            reason=Reason.TIMED_OUT,
            detail=f"no answer within {limit_s:.0f} s",
            waited_s=limit_s,
        )
    if child.signal:
        detail = f"the probe was ended by {child.signal}"
        return Unknown(reason=Reason.CRASHED, detail=detail)
    try:
        return json_object(written, _MAX_ANSWER_BYTES)
    except Undecodable:
        last = child.stderr.strip().splitlines()[-1:] or [f"exit code {child.exit_code}"]
        return Unknown(reason=Reason.CRASHED, detail=last[0])
