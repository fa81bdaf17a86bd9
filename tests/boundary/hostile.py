"""Machines whose facts hold values that no machine should have, by a seed.

Every value keeps its type, as a facts file must; what it says is anything.
"""

import random
from collections.abc import Iterator
from typing import Any

import msgspec

from envdoctor.facts import Snapshot
from envdoctor.facts.documents import facts_from_builtins, facts_to_builtins
from envdoctor.plugins import Loaded
from tests.support.generated import machine_of

VERSIONS = (
    *("", " ", ".", "-", "1.", ".1", "1..2", "v", "x.y", "12.x", "2004d-x", "2.35-0ubuntu3"),
    *("-1.999", "1!2", "0", "00", "1e999", "nan", "9" * 400, "12." + "9" * 400),
    *(before + "9" * 5_000 for before in ("", "12.", "3.", "sm_", "cu")),
    *("٣.٤", "²", "1²"),
    *("2.6.0+cu126.git1", "2.6.0a0", "2.6.0.dev20250101+cu126", "0.0.0", "99999.0", "3.11.9+"),
    *("cu", "cu9", "cu999999", "cpu", "rocm", "sm_", "sm_x", "sm_99999999999", "compute_90a"),
)
TEXTS = (
    *("\udce9", "caf\udce9.so", "\x00", "\x1b[31m", "\x9b", "\u202e", "a\nb\r\n", "é" * 300),
    *("{", "}", "{x}", "{0}", "%s", "%", "\\", "\\x", "`", "'", '"', "$(touch x)", "; touch x"),
    *("None", "null", "gpu:0", "gpu:x", "cpu", "GPU-", "MIG-", "0", "-1", "0x10", "0,0,0", "all"),
    *(
        "/",
        "//",
        "..",
        "../../..",
        "~",
        "~x",
        "/proc/self",
        "C:\\x",
        "x" * 70_000,
        "torch",
        "[",
        "(",
    ),
    *(
        "torch>=2",
        "torch; x",
        "torch[",
        "numpy<2; python_version < 'x'",
        ">=",
        "==2.*",
        "~=2",
        "$ORIGIN",
    ),
)
NUMBERS = (0, 1, -1, 2, 7, 99, 2**31, 2**63 - 1, -(2**63), 10**15)
FRACTIONS = (0.0, -0.0, -1.0, 0.5, 1e308, -1e308, 5e-324)


def hostile_machine(seed: int, loaded: Loaded) -> tuple[str, Snapshot]:
    """What was put where, and the machine."""
    random_ = random.Random(seed)
    story, snapshot = machine_of(seed)
    facts = facts_to_builtins(snapshot)
    places = list(_places(facts))
    changes = []
    for holder, key in random_.sample(places, min(len(places), random_.choice((1, 1, 2, 4, 30)))):
        value = holder[key]
        holder[key] = changed = _other(value, random_)
        try:
            facts_from_builtins(facts, loaded.fact_types)
        except (msgspec.MsgspecError, ValueError):
            holder[key] = value
        else:
            changes.append(f"{key}={changed!r:.60}")
    return f"{story}; {', '.join(changes)}", facts_from_builtins(facts, loaded.fact_types)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every item of every list and object but the names of the types."""
    items = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    for key, item in items:
        if key != "type":
            yield value, key
            yield from _places(item)


def _other(value: Any, random_: random.Random) -> Any:
    if isinstance(value, bool) or value is None:
        return random_.choice((True, False, None, "", "2004d-x", 0, 0.5, [], "x"))
    if isinstance(value, str):
        return random_.choice(random_.choice((VERSIONS, TEXTS)))
    if isinstance(value, int | float):
        return random_.choice((*NUMBERS, *FRACTIONS, None))
    if isinstance(value, list):
        return random_.choice(([], value * 2, value[:1], [*value, *value[:1] * 40]))
    if isinstance(value, dict):
        keys = random_.choice(TEXTS), random_.choice(VERSIONS)
        return random_.choice(({}, None, {**value, keys[0]: keys[1]}))
    return value
