"""Repairs of what a container or a scheduler gives: GPUs, device nodes, shared memory.

Sources: NVIDIA Container Toolkit documentation; Docker, Podman, Kubernetes, Slurm and LXC manuals.
"""

from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.site import Site
from envdoctor.repair.system.place import on_host
from envdoctor.shell import command

_GIVE: dict[str, tuple[str, tuple[str, ...], Place]] = {
    "docker": (
        "start the container with the GPUs; the host needs the NVIDIA Container Toolkit",
        ("docker run --gpus all IMAGE",),
        Place.HOST,
    ),
    "podman": (
        "start the container with the GPUs by CDI; on the host the NVIDIA Container Toolkit writes "
        "the specification",
        (
            "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
            "podman run --device nvidia.com/gpu=all IMAGE",
        ),
        Place.HOST,
    ),
    "kubernetes": (
        "ask for a GPU in the pod: resources.limits `nvidia.com/gpu: 1` and, where the cluster has "
        "one, `runtimeClassName: nvidia`; the node needs NVIDIA's device plugin",
        (),
        Place.SCHEDULER,
    ),
    "apptainer": (
        "start it with --nv, which brings the driver's libraries and nodes in",
        ("apptainer exec --nv IMAGE.sif python train.py",),
        Place.HOST,
    ),
    "lxc": (
        "give the container the nodes /dev/nvidia* (lxc.mount.entry and the device cgroup) on the "
        "host, and install in it the driver's libraries of the host's release; with LXD or Incus "
        "its devices of the type `gpu` and `nvidia.runtime=true` do both",
        (),
        Place.HOST,
    ),
    "systemd-nspawn": (
        "start it with the nodes and leave to open them (--bind and DeviceAllow, or a file in "
        "/etc/systemd/nspawn), and install in it the driver's libraries of the host's release",
        (
            "systemd-nspawn --bind=/dev/nvidia0 --bind=/dev/nvidiactl --bind=/dev/nvidia-uvm "
            "--property='DeviceAllow=char-nvidia* rw' -D ROOT",
        ),
        Place.HOST,
    ),
    "toolbox": (
        "make it again, with the GPUs: distrobox with --nvidia, toolbox from 0.1 on by itself, "
        "where the host has the NVIDIA Container Toolkit",
        ("distrobox create --nvidia --image IMAGE --name NAME",),
        Place.HOST,
    ),
    "flatpak": (
        "run Python outside of the sandbox of this application, in a terminal of the host; a "
        "sandbox has the driver's graphics libraries alone",
        ("flatpak-spawn --host python3 train.py",),
        Place.HOST,
    ),
}
_GIVE["snap"] = (
    "give this snap the GPU, by its interface `opengl`, and start it again; or take a Python that "
    "is in no snap",
    ("snap connections", "sudo snap connect NAME:opengl"),
    Place.HOST,
)
_GIVE["singularity"] = _GIVE["apptainer"]
_GIVE["enroot"] = (
    "start it in a job that has GPUs, with NVIDIA_VISIBLE_DEVICES=all; enroot's hook needs "
    "libnvidia-container on the node",
    ("srun --gres=gpu:1 --container-image=IMAGE ...",),
    Place.SCHEDULER,
)


_GIVE_BY_SERVICE: dict[str, str] = {
    "colab": "choose a runtime that has a GPU: in the menu Runtime, Change runtime type, a "
    "hardware accelerator; the session starts again",
    "kaggle": "choose a GPU for this notebook: Settings, Accelerator; the account has to be "
    "verified, and its quota of the week not used up; the session starts again",
    "runpod": "this pod runs without a GPU, most often because those of its machine were taken "
    "while it was stopped: stop it and start it when one is free, or deploy another pod that has "
    "one, with the same network volume",
    "vast": "stop this instance and start it again in the console; where its GPUs are rented to "
    "another by now, rent an instance that has some",
    "sagemaker": "give the job an instance type with GPUs (`instance_type`, ml.g or ml.p), and an "
    "image for GPUs",
    "azureml": "run the job on a compute target whose virtual machines have GPUs (NC, ND or NV)",
    "vertex": "give the worker pool a machine with GPUs: `machineSpec.acceleratorType` and "
    "`acceleratorCount`",
    "lightning": "switch the Studio to a machine that has a GPU",
    "spaces": "choose hardware with a GPU in the settings of the Space; of ZeroGPU one comes with "
    "each call of a function under `@spaces.GPU`",
    "codespaces": "a codespace has no GPU: use another service, or the CPU",
    "jupyterhub": "stop the server in the Hub's control panel, and start it with an option that "
    "has a GPU; where none is offered, whoever runs the Hub adds one",
    "databricks": "attach the notebook to compute whose machines have GPUs, with a Databricks "
    "Runtime for ML that is made for GPUs",
}
"""Where nobody but the service starts the container (their documentation: Colab FAQ, Kaggle
Notebooks, RunPod zero GPU pods, vast.ai instances, Databricks GPU-enabled compute, SageMaker
training, Azure ML jobs, Vertex AI custom training, Hugging Face Spaces, JupyterHub profiles)."""


def give_gpus(site: Site) -> Fix:
    """Start this container, pod or job with GPUs, in the words of what started it."""
    if site.service in _GIVE_BY_SERVICE:
        return Fix(summary=_GIVE_BY_SERVICE[site.service], where=Place.SCHEDULER)
    if site.jetson and site.container == "docker":
        return Fix(
            summary="start the container with NVIDIA's runtime, which mounts the libraries of "
            "JetPack; the board needs the package nvidia-container",
            commands=("docker run --runtime nvidia IMAGE",),
            where=Place.HOST,
        )
    summary, commands, where = _GIVE.get(
        site.container,
        ("start this container with access to the host's GPUs", (), Place.HOST),
    )
    return Fix(summary=summary, commands=commands, where=where)


def let_through_gvisor(release: str | None) -> Fix:
    """Let gVisor pass the driver's calls on (gvisor.dev, GPU support)."""
    return Fix(
        summary="gVisor passes the calls of listed driver releases on, and of those not every one: "
        f"see whether{f' {release} is' if release else ' the node has one'} among them, start "
        "runsc with --nvproxy and the capabilities that are needed, update it, or run this "
        "container without gVisor",
        commands=("runsc nvproxy list-supported-drivers",),
        where=Place.HOST,
    )


def give_mig(site: Site) -> Fix | None:
    """Give a container an instance of a GPU in MIG mode; None where that is done otherwise."""
    return _GIVE_MIG.get(site.container)


_GIVE_MIG = {
    "kubernetes": Fix(
        summary="ask for an instance in the pod, by the resource that the node offers (with the "
        "device plugin's strategy `mixed` resources.limits `nvidia.com/mig-1g.10gb: 1`, with "
        "`single` `nvidia.com/gpu: 1`); NVIDIA_VISIBLE_DEVICES set by hand gives the GPU without "
        "its instances",
        commands=("kubectl describe node NODE | grep nvidia.com/",),
        where=Place.SCHEDULER,
    ),
    "docker": Fix(
        summary="start the container with an instance, by the UUID that the host lists",
        commands=("nvidia-smi -L", "docker run --gpus device=MIG-UUID IMAGE"),
        where=Place.HOST,
    ),
    "podman": Fix(
        summary="start the container with an instance, as the host's CDI specification names it",
        commands=("nvidia-ctk cdi list", "podman run --device nvidia.com/gpu=0:0 IMAGE"),
        where=Place.HOST,
    ),
    "lxc": Fix(
        summary="give the container an instance, by the UUID that the host lists; with nodes of "
        "one's own those in /dev/nvidia-caps that belong to it as well",
        commands=(
            "nvidia-smi -L",
            "lxc config device add CONTAINER slice gpu gputype=mig mig.uuid=MIG-UUID pci=ADDRESS",
        ),
        where=Place.HOST,
    ),
}
"""NVIDIA Container Toolkit and k8s-device-plugin documentation; LXD, GPU devices."""


def share_mps(site: Site, pipe: str) -> Fix:
    """Let a container reach the MPS daemon of its host (NVIDIA container wiki, NVIDIA MPS)."""
    if site.container == "kubernetes":
        return Fix(
            summary="let the device plugin share the GPU by MPS (`sharing.mps`), which mounts the "
            f"daemon's folder; by hand a pod needs hostIPC: true and the node's `{pipe}`",
            where=Place.SCHEDULER,
        )
    shared = ("--ipc=host", "-v", f"{pipe}:{pipe}", "IMAGE")
    start = {
        "docker": command("docker", "run", "--gpus", "all", *shared),
        "podman": command("podman", "run", "--device", "nvidia.com/gpu=all", *shared),
        "apptainer": command("apptainer", "exec", "--nv", "--bind", pipe, "IMAGE.sif"),
    }.get(site.container)
    return Fix(
        summary="start the container in the IPC namespace of the host, with the folder in which "
        f"the daemon listens (`{pipe}`), and as the daemon's user",
        commands=(start,) if start else (),
        where=Place.HOST,
    )


def write_cdi(site: Site, path: str) -> Fix:
    """Have the specification for containers written anew, for the driver that runs now."""
    return on_host(
        site,
        "write it again; from version 1.18 on the NVIDIA Container Toolkit does so by a service of "
        "its own",
        command("sudo", "nvidia-ctk", "cdi", "generate", f"--output={path}"),
        "systemctl status nvidia-cdi-refresh.service",
    )


def give_amd_gpus(site: Site) -> Fix:
    """Start this container, pod or job with AMD's GPUs."""
    if site.container == "kubernetes":
        return Fix(
            summary="ask for a GPU in the pod: resources.limits `amd.com/gpu: 1`; the node needs "
            "AMD's device plugin",
            where=Place.SCHEDULER,
        )
    if site.container in ("apptainer", "singularity"):
        return Fix(
            summary="start it with --rocm, which brings AMD's nodes and libraries in",
            commands=("apptainer exec --rocm IMAGE.sif python train.py",),
            where=Place.HOST,
        )
    # A user without root has the groups of the host kept, and can add none.
    start = {
        "docker": "docker run --group-add video",
        "podman": "podman run --group-add keep-groups",
    }.get(site.container)
    nodes = "--device=/dev/kfd --device=/dev/dri --security-opt seccomp=unconfined"
    return Fix(
        summary="start the container with AMD's device nodes, /dev/kfd and /dev/dri, and in the "
        "groups that own them",
        commands=(f"{start} {nodes} IMAGE",) if start else (),
        where=Place.HOST,
    )


def give_intel_gpus(site: Site) -> Fix:
    """Start this container or pod with Intel's GPUs."""
    if site.container == "kubernetes":
        return Fix(
            summary="ask for a GPU in the pod: resources.limits `gpu.intel.com/i915: 1` (or `xe`); "
            "the node needs Intel's device plugin",
            where=Place.SCHEDULER,
        )
    start = {
        "docker": "docker run --group-add GID --device=/dev/dri IMAGE",
        "podman": "podman run --group-add keep-groups --device=/dev/dri IMAGE",
    }.get(site.container)
    return Fix(
        summary="start the container with the render nodes, /dev/dri, and in the group that owns "
        "them, by the number that `ls -ln` shows on the host",
        commands=("ls -ln /dev/dri", *((start,) if start else ())),
        where=Place.HOST,
    )


def open_render_nodes(site: Site) -> Fix:
    """Let this user open /dev/kfd and /dev/dri/renderD*."""
    if site.container == "kubernetes":
        return Fix(
            summary="let the pod be in the group of the nodes, securityContext: "
            "`supplementalGroups: [GID]` with the number that `ls -ln` shows",
            commands=("ls -ln /dev/kfd /dev/dri",),
            where=Place.SCHEDULER,
        )
    if site.container in ("docker", "podman"):
        group = "GID" if site.container == "docker" else "keep-groups"
        return Fix(
            summary="start the container in the group that owns the nodes, by the number that "
            "`ls -ln` shows",
            commands=("ls -ln /dev/kfd /dev/dri", f"{site.container} run --group-add {group} ..."),
            where=Place.HOST,
        )
    if site.container == "lxc":
        return Fix(
            summary="on the host, give the nodes to the container in the group `render` that it "
            "has itself, by its number, and restart it; on Proxmox VE: `dev0: "
            "/dev/dri/renderD128,gid=GID` and `dev1: /dev/kfd,gid=GID` in /etc/pve/lxc/ID.conf",
            commands=("getent group render", "ls -ln /dev/kfd /dev/dri"),
            where=Place.HOST,
        )
    return on_host(
        site,
        "join the groups that own /dev/kfd and /dev/dri/renderD*, and log in again",
        "ls -l /dev/kfd /dev/dri",
        'sudo usermod -aG render,video "$USER"',
    )


def allow_compute(site: Site) -> Fix:
    """Let the container runtime bring in libcuda."""
    engine = {"podman": "podman", "docker": "docker"}.get(site.container)
    commands = (
        (f"{engine} run -e NVIDIA_DRIVER_CAPABILITIES=compute,utility ...",) if engine else ()
    )
    return Fix(
        summary="start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility, or set it so "
        "in the image",
        commands=commands,
        where=Place.HOST,
    )


def lock_memory(site: Site, *, in_slurm: bool) -> Fix:
    """Let processes lock as much memory as they want."""
    if site.container in ("docker", "podman"):
        return Fix(
            summary="start the container without a limit on locked memory",
            commands=(f"{site.container} run --ulimit memlock=-1 IMAGE",),
            where=Place.HOST,
        )
    if site.container == "kubernetes":
        return Fix(
            summary="give the pod the capability IPC_LOCK (securityContext.capabilities.add), or "
            "have the limit of the container runtime raised on the nodes",
            where=Place.SCHEDULER,
        )
    of_slurm = (
        "; Slurm takes the limits of the machine that submits, unless slurm.conf has "
        "`PropagateResourceLimitsExcept=MEMLOCK`"
        if in_slurm
        else ""
    )
    return on_host(
        site,
        f"let users lock all memory, and log in again{of_slurm}",
        "printf '* soft memlock unlimited\\n* hard memlock unlimited\\n' | "
        "sudo tee /etc/security/limits.d/memlock.conf",
    )


def more_shared_memory(site: Site) -> Fix:
    """Start the container with more shared memory."""
    if site.service:
        return Fix(
            summary="the service that runs this container decides how much it has: use fewer "
            "workers in the DataLoader (`num_workers`), or a machine or template with more",
            where=Place.SCHEDULER,
        )
    if site.container == "kubernetes":
        return Fix(
            summary="mount a volume `emptyDir: {medium: Memory}` at /dev/shm of the pod",
            where=Place.SCHEDULER,
        )
    if site.container in ("docker", "podman"):
        return Fix(
            summary="start the container with more (or with `--ipc=host`: all of the host's)",
            commands=(f"{site.container} run --shm-size=8g IMAGE",),
            where=Place.HOST,
        )
    if site.container in ("apptainer", "singularity"):
        return on_host(
            site,
            "start it without --contain, so that it has the /dev/shm of the host, and make that "
            "larger where it is small itself",
            "df -h /dev/shm",
        )
    return Fix(
        summary="give the container a larger tmpfs at /dev/shm, in the configuration of what "
        "starts it",
        where=Place.HOST,
    )


def start_anew(site: Site) -> Fix:
    """Make the container anew, so that it gets its devices again."""
    if site.service:
        return Fix(
            summary="end this session or instance, and start another, in the page of the service "
            "that runs it",
            where=Place.SCHEDULER,
        )
    if site.container == "kubernetes":
        return Fix(
            summary="delete the pod, so that it is created again; on the node, the driver of the "
            "cgroups `cgroupfs` or CDI keeps it from happening again",
            commands=("kubectl delete pod POD",),
            where=Place.SCHEDULER,
        )
    commands = {
        "docker": ("docker restart CONTAINER",),
        "podman": ("podman restart CONTAINER",),
    }.get(site.container, ())
    return Fix(
        summary="restart the container from outside; CDI or the cgroup driver `cgroupfs` keeps "
        "it from happening again",
        commands=commands,
        where=Place.HOST,
    )


def ask_slurm(condition: str = "") -> Fix:
    """Let the scheduler give the job a GPU."""
    return Fix(
        summary=f"{condition}ask for a GPU, the device cgroup hides those of others",
        commands=("srun --gres=gpu:1 ...",),
        where=Place.SCHEDULER,
    )


def open_devices_to_service() -> Fix:
    """Let a service of systemd have the /dev of the machine (systemd.exec(5))."""
    return Fix(
        summary="where a shell shows them and only this program has none, it runs in a service of "
        "systemd with `PrivateDevices=yes`: override that with `PrivateDevices=no`",
        commands=("ls -l /dev/nvidia*", "sudo systemctl edit UNIT"),
        safety=Safety.NEEDS_ROOT,
    )


_OF_LXC = Fix(
    summary="on the host, allow the nodes in the container's configuration and restart it: one "
    "line `lxc.cgroup2.devices.allow = c MAJOR:* rwm` for each major number that `ls -l "
    "/dev/nvidia*` shows there; that of nvidia-uvm may change at a restart of the host",
    commands=("ls -l /dev/nvidia*",),
    where=Place.HOST,
)


_OF_FILTER = Fix(
    summary="if `ls -l` shows that everybody may open them: a device filter of the control group "
    "refuses them, which a scheduler or systemd (DevicePolicy=, DeviceAllow= of a user slice or a "
    "service) has set; let its administrator take it off",
    commands=(
        "ls -l /dev/nvidia*",
        "systemctl show -p DevicePolicy -p DeviceAllow user-$(id -u).slice",
    ),
    where=Place.HERE,
)
"""systemd.resource-control(5); pytorch/pytorch issue 190132 shows one on a user slice."""


def open_nodes(site: Site, *, in_slurm: bool = False, gpus_alone: bool = False) -> tuple[Fix, ...]:
    """Let this user open the device nodes. `gpus_alone` says that the others of the driver are
    open, which have the same group (NVIDIA driver README, NVreg_DeviceFileGID)."""
    if in_slurm:
        return (ask_slurm(),)
    if site.container == "lxc":
        return (_OF_LXC,)
    if site.container == "podman":
        label = Fix(
            summary="if SELinux refuses them: start the container without its label, or allow "
            "containers to use devices on the host",
            commands=(
                "podman run --security-opt=label=disable --device nvidia.com/gpu=all IMAGE",
                "sudo setsebool -P container_use_devices on",
            ),
            where=Place.HOST,
        )
        group = Fix(
            summary="if a group owns them: keep your groups in the user namespace of the container",
            commands=("podman run --group-add keep-groups --device nvidia.com/gpu=all IMAGE",),
            where=Place.HOST,
        )
        return (
            (label, group)
            if site.os_family in ("fedora", "fedora-atomic", "rhel")
            else (group, label)
        )
    if site.container == "kubernetes":
        group = Fix(
            summary="if a group owns them: let the pod be in it, securityContext: "
            "`supplementalGroups: [GID]` with the number that `ls -ln` shows",
            commands=("ls -ln /dev/nvidia0",),
            where=Place.SCHEDULER,
        )
        return group, give_gpus(site)
    if site.container == "docker":
        group = Fix(
            summary="if a group owns them and the container has a user of its own: be in that "
            "group, by the number that `ls -ln` shows",
            commands=("ls -ln /dev/nvidia0", "docker run --gpus all --group-add GID IMAGE"),
            where=Place.HOST,
        )
        label = Fix(
            summary="if the host has SELinux and that refuses them: start the container without "
            "its label",
            commands=("docker run --gpus all --security-opt=label=disable IMAGE",),
            where=Place.HOST,
        )
        return group, label, give_gpus(site)
    if site.contained:
        return (give_gpus(site),)
    condition = "if a group owns them: " if gpus_alone else ""
    return (
        *((_OF_FILTER,) if gpus_alone else ()),
        Fix(
            summary=f"{condition}join the group that owns the nodes, and log in again",
            commands=("ls -l /dev/nvidia*", 'sudo usermod -aG video,render "$USER"'),
            safety=Safety.NEEDS_ROOT,
        ),
    )
