"""How the processes of one job reach each other: what NCCL, gloo and torch were told, and what is
there. Without a job and without these variables nothing is said.

Sources: NVIDIA NCCL documentation, Environment Variables, and its src/misc/socket.cc; PyTorch,
torch/distributed (rendezvous.py, ProcessGroupGloo.cpp).
"""

from envdoctor.api import (
    Code,
    Collective,
    Driver,
    Environment,
    Evidence,
    FabricPort,
    Findings,
    Fix,
    Gpus,
    Layer,
    Network,
    NetworkInterface,
    Severity,
    Site,
    TorchBuild,
    TorchRuntime,
    check,
    surroundings,
    system,
)
from envdoctor_checks.job import Job, job_of
from envdoctor_checks.used_gpus import UsedGpus, used_gpus

BREAKS = "distributed"

NCCL_SOCKET_IFNAME = Code(
    id="ED700",
    name="nccl-socket-ifname",
    family="nccl-socket-ifname",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    fault="environment",
    breaks=BREAKS,
    message="a variable chooses a network interface that cannot be used",
    detailed="{variable}={value} {problem}",
    explains=("ED710", "ED712", "ED718"),
)
RDMA_DEVICE_MISSING = Code(
    id="ED701",
    name="rdma-device-missing",
    family="nccl-network",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    fault="environment",
    breaks=BREAKS,
    message="NCCL_IB_HCA chooses no InfiniBand or RoCE port that carries data",
    detailed="NCCL_IB_HCA={value} {problem}",
)
FABRIC_PORT_NOT_ACTIVE = Code(
    id="ED705",
    name="infiniband-not-active",
    family="nccl-network",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=BREAKS,
    message="an InfiniBand port has a link and no subnet manager",
    detailed="InfiniBand port {port} is {state}: it has a link and no subnet manager",
)
NO_GPU_DIRECT = Code(
    id="ED706",
    name="nvidia-peermem-missing",
    family="nccl-network",
    severity=Severity.INFO,
    topic="network",
    layer=Layer.SPEED,
    message="nvidia_peermem is not loaded, so NCCL copies what InfiniBand carries through the CPU",
)


# --- interfaces ---


@check(NCCL_SOCKET_IFNAME)
def socket_interface(
    environment: Environment,
    network: Network,
    runtime: TorchRuntime | None,
    build: TorchBuild | None,
    gpus: Gpus | None,
    tried: Collective | None,
) -> Findings:
    """An interface that is not there, is down, has no address or leads nowhere."""
    if tried is not None:
        # What was tried is judged by what became of it, see collective.py.
        return
    used = used_gpus(environment, runtime, build, gpus)
    job = job_of(environment.variables, network)
    for variable, library in (("NCCL_SOCKET_IFNAME", "NCCL"), ("GLOO_SOCKET_IFNAME", "gloo")):
        value = environment.variables.get(variable, "").strip()
        nobody = library == "NCCL" and used is not None and not used.gpus
        if nobody or len(value) < _LEAST_CHARACTERS or "<" in value:
            continue
        problem = _of_nccl(value, network) if library == "NCCL" else _of_gloo(value, network)
        problem = problem or _of_other_nodes(value, library, network, job)
        if problem is None:
            continue
        concerned = job.several or (library == "NCCL" and used is not None and len(used.gpus) > 1)
        yield NCCL_SOCKET_IFNAME.finding(
            subjects=(variable,),
            severity=Severity.WARNING if concerned else Severity.INFO,
            variable=variable,
            value=value,
            problem=problem,
            evidence=(
                Evidence(label=variable, value=value, source="environment"),
                Evidence(
                    label="interfaces",
                    value=", ".join(map(_described, network.interfaces)) or "none",
                    source="/sys/class/net",
                ),
            ),
            fixes=(_other_interface(variable, library, network),),
        )


_LEAST_CHARACTERS = 2
"""NCCL heeds no shorter value (ncclFindInterfaces), and no interface has a shorter name."""


def _described(one: NetworkInterface) -> str:
    address = {True: "with an address", False: "without an address", None: ""}[one.has_address]
    return " ".join(filter(None, (one.name, f"({one.state})", address)))


def is_usable(one: NetworkInterface) -> bool:
    return not one.is_down and one.has_address is not False


def _chosen_by_nccl(value: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """A list of prefixes; `^` before it excludes, `=` before it wants whole names."""
    others, rest = value.startswith("^"), value.removeprefix("^")
    whole, rest = rest.startswith("="), rest.removeprefix("=")
    wanted = [one.partition(":")[0] for one in rest.split(",") if one]

    def is_named(name: str) -> bool:
        return any(name == one if whole else name.startswith(one) for one in wanted)

    return tuple(name for name in names if is_named(name) is not others)


def _of_nccl(value: str, network: Network) -> str | None:
    by_name = {one.name: one for one in network.interfaces}
    chosen = [by_name[name] for name in _chosen_by_nccl(value, tuple(by_name))]
    if any(map(is_usable, chosen)):
        return None
    if value.startswith("^"):
        return "leaves out every interface that is up and has an address"
    return _of_unusable(chosen[0]) if chosen else "names no interface of this machine"


def _of_gloo(value: str, network: Network) -> str | None:
    """Names with commas between them; gloo opens every one."""
    by_name = {one.name: one for one in network.interfaces}
    for name in value.split(","):
        if name not in by_name:
            return f"names `{name}`, which is no interface of this machine"
        if not is_usable(by_name[name]):
            return _of_unusable(by_name[name])
    return None


def _of_unusable(one: NetworkInterface) -> str:
    return f"names `{one.name}`, which {'is down' if one.is_down else 'has no address'}"


def _of_other_nodes(value: str, library: str, network: Network, job: Job) -> str | None:
    names = tuple(one.name for one in network.interfaces if is_usable(one))
    chosen = _chosen_by_nccl(value, names) if library == "NCCL" else tuple(value.split(","))
    if not job.nodes or set(chosen) != {"lo"}:
        return None
    return f"keeps to the loopback, which leads to no other machine, and {job.nodes}"


def _other_interface(variable: str, library: str, network: Network) -> Fix:
    usable = [one.name for one in network.interfaces if is_usable(one) and not one.is_loopback]
    named = (
        f", or name one that is up and has an address: {', '.join(usable[:8])}" if usable else ""
    )
    return surroundings.unset(variable, summary=f"let {library} choose{named}")


# --- InfiniBand and RoCE ---


@check(RDMA_DEVICE_MISSING)
def rdma_device(
    environment: Environment,
    network: Network,
    runtime: TorchRuntime | None,
    build: TorchBuild | None,
    gpus: Gpus | None,
) -> Findings:
    """NCCL_IB_HCA leaves NCCL no port, so that it falls back to sockets."""
    variables = environment.variables
    value = variables.get("NCCL_IB_HCA", "").strip()
    used = used_gpus(environment, runtime, build, gpus)
    # With InfiniBand switched off the variable has no effect.
    without = variables.get("NCCL_IB_DISABLE") == "1" or (used is not None and not used.gpus)
    if not value or "<" in value or without:
        return
    chosen = _ports_chosen(value, network.ports)
    if any(port.state == "ACTIVE" for port in chosen):
        return
    job = job_of(variables, network)
    problem = (
        f"chooses {_port(chosen[0])} alone, which is {chosen[0].state}"
        if chosen
        else "names no InfiniBand or RoCE device of this machine"
    )
    there = ", ".join(f"{_port(port)} {port.state}" for port in network.ports) or "none"
    yield RDMA_DEVICE_MISSING.finding(
        severity=Severity.WARNING if job.nodes else Severity.INFO,
        value=value,
        problem=problem,
        evidence=(
            Evidence(label="NCCL_IB_HCA", value=value, source="environment"),
            Evidence(label="ports", value=there, source="/sys/class/infiniband"),
        ),
        fixes=(
            surroundings.unset(
                "NCCL_IB_HCA", summary="let NCCL choose, or name a port that is ACTIVE"
            ),
        ),
        notes=("NCCL then sends over IP sockets, which are several times slower",),
    )


def _ports_chosen(value: str, ports: tuple[FabricPort, ...]) -> list[FabricPort]:
    """As of interfaces; `:` and a number choose a port of a device."""
    others, rest = value.startswith("^"), value.removeprefix("^")
    whole, rest = rest.startswith("="), rest.removeprefix("=")
    wanted = [one.partition(":")[::2] for one in rest.split(",") if one]

    def is_named(port: FabricPort) -> bool:
        return any(
            (port.device == name if whole else port.device.startswith(name))
            and number in ("", str(port.port))
            for name, number in wanted
        )

    return [port for port in ports if is_named(port) is not others]


def _port(port: FabricPort) -> str:
    return f"{port.device}:{port.port}"


@check(FABRIC_PORT_NOT_ACTIVE)
def infiniband_port(environment: Environment, network: Network, site: Site) -> Findings:
    """A port of InfiniBand that waits for its subnet manager, while a job needs it."""
    job = job_of(environment.variables, network)
    waiting = [
        port
        for port in network.ports
        if port.link_layer == "InfiniBand" and port.state in ("INIT", "ARMED")
    ]
    if not waiting or not job.nodes or environment.variables.get("NCCL_IB_DISABLE") == "1":
        return
    yield FABRIC_PORT_NOT_ACTIVE.finding(
        subjects=tuple(map(_port, waiting)),
        port=" and ".join(map(_port, waiting)),
        state=waiting[0].state,
        evidence=tuple(
            Evidence(
                label=_port(port),
                value=port.state,
                source=f"/sys/class/infiniband/{port.device}/ports/{port.port}/state",
            )
            for port in waiting
        ),
        fixes=(
            system.on_host(
                site,
                "look whether a subnet manager runs, on a switch or as opensm on one host",
                "ibstat",
                "sudo sminfo",
            ),
        ),
    )


@check(NO_GPU_DIRECT)
def gpu_direct(
    environment: Environment,
    network: Network,
    driver: Driver,
    site: Site,
    runtime: TorchRuntime | None,
    build: TorchBuild | None,
    gpus: Gpus | None,
) -> Findings:
    """InfiniBand between machines whose GPUs it could read by itself. The open flavour of the
    driver does so without the module, by DMA-BUF."""
    job = job_of(environment.variables, network)
    used = used_gpus(environment, runtime, build, gpus) or UsedGpus(gpus=())
    names = [gpu.name for gpu in used.gpus if used.nvidia]
    if not job.nodes or not names or any("GeForce" in name for name in names):
        return
    if network.peer_memory or driver.flavor != "proprietary" or not network.active_ports:
        return
    yield NO_GPU_DIRECT.finding(
        evidence=(
            Evidence(label="nvidia_peermem", value="not loaded", source="/sys/module"),
            Evidence(
                label="ports",
                value=", ".join(map(_port, network.active_ports)),
                source="/sys/class/infiniband",
            ),
        ),
        fixes=(system.on_host(site, "load the module", "sudo modprobe nvidia-peermem"),),
    )
