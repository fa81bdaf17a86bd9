"""Small children in the doctor's own interpreter, for what may hang, crash or take long."""

import json
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from envdoctor.facts import Reason, Unknown
from envdoctor.probes.boundary import Undecodable, json_object
from envdoctor.probes.channel import MOST_BYTES, Incoming, Outgoing
from envdoctor.probes.context import Context

_HERE = Path(__file__).parent
_LONGEST_PLACE = 80


def ask(
    script: str,
    context: Context,
    *,
    limit_s: float,
    job: object = None,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any] | Unknown:
    """The JSON object that a script beside this file writes, or why there is none.

    It is called with the descriptor for its answer and, if there is a `job`, one that holds it as
    JSON, and starts with nothing but the standard library. Its variables are those of the context
    unless others are given. A line before the answer says what it looks at: where it hangs or dies
    there, that is told.
    """
    lines: deque[bytes] = deque(maxlen=1)
    with ExitStack() as stack:
        answer = stack.enter_context(Incoming(lines.append, longest_line=MOST_BYTES))
        ports: list[Incoming | Outgoing] = [answer]
        if job is not None:
            # Names of files that are no text are surrogates, which only this module can write.
            ports.append(stack.enter_context(Outgoing(json.dumps(job).encode())))
        fds = [port.for_child for port in ports]
        child = context.run(
            [sys.executable, "-I", "-B", "-S", str(_HERE / script), *map(str, fds)],
            timeout_s=limit_s,
            env=env,
            pass_fds=fds,
            ports=ports,
            still_allowed=lambda: not answer.flooded,
        )
        answer.drain()
    if answer.flooded:
        detail = f"it answered with more than {MOST_BYTES >> 20} MiB"
        return Unknown(reason=Reason.CRASHED, detail=detail)
    at = "".join(f", at {line[:_LONGEST_PLACE].decode('utf-8', 'replace')}" for line in lines)
    if child.timed_out:
        return Unknown(
            reason=Reason.TIMED_OUT,
            detail=f"no answer within {limit_s:.0f} s{at}",
            waited_s=limit_s,
        )
    if child.signal:
        detail = f"the probe was ended by {child.signal}{at}"
        return Unknown(reason=Reason.CRASHED, detail=detail)
    try:
        return json_object(bytes(answer.unfinished), MOST_BYTES)
    except Undecodable:
        last = child.stderr.strip().splitlines()[-1:] or [f"exit code {child.exit_code}"]
        return Unknown(reason=Reason.CRASHED, detail=last[0])
