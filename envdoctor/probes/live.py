"""What can only be asked of a running system: who looks below another root wants files alone."""

from envdoctor.facts import Reason, Unknown
from envdoctor.probes.context import Context


def only_live(context: Context, why: str) -> Unknown:
    """That it was not asked for below a root that is not that of the running system."""
    detail = f"{why}; below `{context.root}` only files are read"
    return Unknown(reason=Reason.SWITCHED_OFF, detail=detail)
