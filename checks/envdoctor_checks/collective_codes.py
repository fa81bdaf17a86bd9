"""The diseases of a collective: what keeps the ranks of one job apart."""

from envdoctor.api import Code, Layer, Severity

_BREAKS = "distributed"

MASTER_NOT_REACHED = Code(
    id="ED711",
    name="master-not-reached",
    family="nccl-network",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="MASTER_ADDR:MASTER_PORT, where the nodes of a job meet, is not reached",
    detailed="node {node} does not reach MASTER_ADDR:MASTER_PORT, where all meet: {problem}",
    explains=("ED710",),
)
RANKS_NOT_REACHED = Code(
    id="ED712",
    name="ranks-not-reached",
    family="nccl-network",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="ranks do not reach each other, though they reach MASTER_ADDR:MASTER_PORT",
    detailed="{pairs}: {problem}",
    explains=("ED710", "ED718"),
)
MASTER_NAME_UNKNOWN = Code(
    id="ED713",
    name="master-name-unknown",
    family="nccl-network",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="the name in MASTER_ADDR has no address on this machine",
    detailed="the name in MASTER_ADDR has no address on node {node}: {error}",
    explains=("ED710",),
)
MASTER_PORT_IN_USE = Code(
    id="ED714",
    name="master-port-in-use",
    family="master-port-in-use",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="another program has MASTER_PORT on the first node",
    detailed="another program has MASTER_PORT {port} on the first node",
    explains=("ED710",),
)
NODE_MISSING = Code(
    id="ED715",
    name="node-missing",
    family="node-missing",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="not all nodes of the job came to MASTER_ADDR:MASTER_PORT",
    detailed="{came} of {count} nodes came to MASTER_ADDR:MASTER_PORT; {nodes} did not",
    explains=("ED710",),
)
RANK_DIED = Code(
    id="ED716",
    name="rank-died",
    family="rank-died",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="a rank died, and the others waited for it",
    detailed="{ranks} died in `{phase}`: {how}",
    explains=("ED710", "ED712", "ED718"),
)
NODES_DIFFER = Code(
    id="ED717",
    name="nodes-differ",
    family="nodes-differ",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    fault="environment",
    breaks=_BREAKS,
    message="the nodes of the job have different versions of torch or NCCL",
    detailed="the nodes of the job differ in {what}: {versions}",
    explains=("ED710", "ED718"),
)
NCCL_ERROR = Code(
    id="ED718",
    name="nccl-error",
    family="nccl-error",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="NCCL fails or gives no answer between GPUs whose ranks reach each other",
    detailed="NCCL fails in `{phase}`: {text}",
    explains=("ED710",),
)
WRONG_SUM = Code(
    id="ED719",
    name="all-reduce-wrong",
    family="all-reduce-wrong",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="an all-reduce gives a wrong sum",
    explains=("ED710",),
)

PACKETS_LOST = Code(
    id="ED720",
    name="large-packets-lost",
    family="nccl-network",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="ranks connect to each other, and packets of full size are lost between them",
    detailed="{pairs} with packets of full size, while a connection comes about",
    explains=("ED710", "ED718"),
)
