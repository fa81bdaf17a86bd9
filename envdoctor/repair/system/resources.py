"""What a process runs out of: tasks, memory, open files; and the clock."""

from envdoctor.facts.machine import HugePagePool
from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.site import Site
from envdoctor.repair.system.place import on_host
from envdoctor.shell import command


def more_tasks(site: Site) -> tuple[Fix, ...]:
    """Allow more processes and threads; or start fewer."""
    fewer = Fix(
        summary="or let the libraries start fewer",
        commands=("export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1",),
        safety=Safety.SAFE,
    )
    if site.container in ("docker", "podman"):
        more = Fix(
            summary="start the container with a higher limit of processes and threads",
            commands=(f"{site.container} run --pids-limit=-1 IMAGE",),
            where=Place.HOST,
        )
    elif site.container == "kubernetes":
        more = Fix(
            summary="have the limit of the nodes raised (`podPidsLimit` of the kubelet)",
            where=Place.HOST,
        )
    else:
        more = on_host(
            site,
            "see which limit it is and have it raised: `nproc` in /etc/security/limits.d, TasksMax "
            "of the systemd slice, or that of the job",
            "ulimit -u; cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup | tail -n 1)/pids.max",
            safety=Safety.SAFE,
        )
    return more, fewer


def allow_new_system_calls(site: Site) -> Fix:
    """Let the container make threads."""
    known = site.container in ("docker", "podman")
    return Fix(
        summary="update what runs the containers (Docker 20.10.10 or later) and libseccomp on the "
        "host; until then start the container without the filter (seccomp)",
        commands=(f"{site.container} run --security-opt seccomp=unconfined IMAGE",)
        if known
        else (),
        where=Place.HOST,
    )


def more_memory(site: Site) -> tuple[Fix, ...]:
    """Raise the limit of memory."""
    if site.container == "kubernetes":
        return (
            Fix(
                summary="ask for more memory (`resources.limits.memory` of the container)",
                where=Place.SCHEDULER,
            ),
        )
    if site.container in ("docker", "podman"):
        return (
            Fix(
                summary="start the container with more memory",
                commands=(f"{site.container} run --memory=8g IMAGE",),
                where=Place.HOST,
            ),
        )
    return (
        Fix(
            summary="ask for more memory, where a scheduler or systemd limits it (`--mem` of "
            "Slurm, MemoryMax of systemd)",
            where=Place.SCHEDULER,
        ),
    )


def free_memory(site: Site) -> Fix:
    """See who has the memory; add some."""
    if site.wsl:
        return Fix(
            summary="give WSL more of the memory of Windows: `memory=12GB` below `[wsl2]` in "
            "%UserProfile%\\.wslconfig, then start it again",
            commands=("wsl.exe --shutdown",),
            where=Place.HOST,
        )
    return on_host(
        site,
        "end what holds the memory, or add memory or swap",
        "free -h; ps -eo pid,rss,args --sort=-rss | head",
        safety=Safety.SAFE,
    )


def release_huge_pages(site: Site, pools: tuple[HugePagePool, ...]) -> Fix:
    """Give back the pages that nobody has, of each size by its own file: `vm.nr_hugepages` is that
    of the default size alone, which the kernel's command line may have set to any."""
    return on_host(
        site,
        "give back the huge pages that lie idle, unless the database or virtual machine that they "
        "are for only does not run now; and take them out of what sets them aside at each start: "
        "`vm.nr_hugepages` in /etc/sysctl.d, or `hugepages=` on the kernel's command line",
        *(
            f"echo {max(0, pool.total - pool.idle)} | sudo tee "
            f"/sys/kernel/mm/hugepages/hugepages-{pool.page_bytes >> 10}kB/nr_hugepages"
            for pool in pools
            if pool.idle
        ),
        "grep -rs nr_hugepages /etc/sysctl.conf /etc/sysctl.d; grep hugepages= /proc/cmdline",
    )


_ENOUGH_FILES = 65536
"""Room for a thousand tensors from workers many times over; a limit without end slows down what
closes all descriptors that there may be."""

_ENOUGH_FILES_OF_MACOS = 10240
"""What macOS lets a process have (OPEN_MAX of its sys/syslimits.h)."""


def more_open_files(
    site: Site, *, now: int | None, hard: int | None, in_slurm: bool
) -> tuple[Fix, ...]:
    """Let a process have more files open: by itself as far as it may, and then by what holds it."""
    most = _ENOUGH_FILES_OF_MACOS if site.os_family == "macos" else _ENOUGH_FILES
    reached = min(most, hard) if hard is not None else most
    return (
        *((_raise_soft_limit(reached),) if reached > (now or 0) else ()),
        *((_raise_hard_limit(site, most, in_slurm=in_slurm),) if reached < most else ()),
    )


def share_tensors_by_name() -> Fix:
    """Have processes pass tensors by names, not by open files."""
    return Fix(
        summary="or have workers pass their tensors by the names of files in /dev/shm, which keeps "
        "none open: `torch.multiprocessing.set_sharing_strategy('file_system')` at the start of "
        "the program; files of a process that is killed then stay there",
        safety=Safety.SAFE,
    )


def _raise_soft_limit(number: int) -> Fix:
    return Fix(
        summary="raise it in the shell that starts the program; up to the hard limit everybody may",
        commands=(f"ulimit -Sn {number}",),
        safety=Safety.SAFE,
    )


def _raise_hard_limit(site: Site, number: int, *, in_slurm: bool) -> Fix:
    if in_slurm:
        return Fix(
            summary="raise it where the job is submitted, before `sbatch` or `srun`: Slurm takes "
            "the limits of that shell (`PropagateResourceLimits` of slurm.conf), and the limit of "
            "the nodes' slurmd (LimitNOFILE of its unit) holds for it",
            commands=(f"ulimit -n {number}",),
            where=Place.SCHEDULER,
        )
    if site.service:
        return Fix(
            summary="the service that runs this container decides how many it may have",
            where=Place.SCHEDULER,
        )
    if site.container in ("docker", "podman"):
        return Fix(
            summary="start the container with a higher limit",
            commands=(f"{site.container} run --ulimit nofile={number}:{number} IMAGE",),
            where=Place.HOST,
        )
    if site.container == "kubernetes":
        return Fix(
            summary="have the limit of the container runtime raised on the nodes (LimitNOFILE of "
            "the unit of containerd or CRI-O): a pod has no field for it",
            where=Place.HOST,
        )
    if site.os_family == "macos":
        return Fix(
            summary="raise the limit of the system, then log in again",
            commands=(f"sudo launchctl limit maxfiles {number} {number}",),
            safety=Safety.NEEDS_ROOT,
        )
    return on_host(
        site,
        "let users have more, and log in again; a service has `LimitNOFILE=` in its unit",
        f"printf '* soft nofile {number}\\n* hard nofile {number}\\n' | "
        "sudo tee /etc/security/limits.d/nofile.conf",
    )


def more_files_of_system(site: Site) -> Fix:
    """Let all processes together have more files open; or see who has so many."""
    return on_host(
        site,
        "see which process has so many, and end it, or allow the whole system more (and keep that "
        "in /etc/sysctl.d)",
        "cat /proc/sys/fs/file-nr; sudo lsof -n | awk '{print $2}' | sort | uniq -c | sort -n | "
        "tail -n 5",
        'sudo sysctl fs.file-max="$((2 * $(cat /proc/sys/fs/file-max)))"',
    )


def room_for_temporary_files(site: Site, folder: str, *, full: bool) -> Fix:
    """Make room, or take another folder."""
    if site.container == "kubernetes" and not full:
        return Fix(
            summary="mount a volume `emptyDir: {}` at /tmp of the pod: its root is read-only",
            where=Place.SCHEDULER,
        )
    return Fix(
        summary="make room, or name a folder on a disk that has some",
        commands=(command("df", "-h", folder), "export TMPDIR=/path/on/another/disk"),
        safety=Safety.SAFE,
    )


def one_time_service(site: Site) -> Fix:
    """Have one service alone keep the clock."""
    return on_host(
        site,
        "have one time service keep the clock: chronyd, systemd-timesyncd, ntpd and the tools of a "
        "hypervisor that set it by turns let it jump; once, after a start or a pause, is no fault",
        "timedatectl",
        "systemctl is-active chronyd chrony systemd-timesyncd ntpd ntp vmtoolsd",
        safety=Safety.SAFE,
    )


def read_time_from_tsc(site: Site, *, offered: bool) -> Fix:
    """Have Linux read the time from the counter of the CPU."""
    if offered:
        return on_host(
            site,
            "have Linux read the CPU's own counter, which it offers, and keep that by "
            "`clocksource=tsc` on the kernel's command line",
            "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
        )
    return on_host(
        site,
        "see why the kernel has given the CPU's own counter up, and update the firmware: most "
        "often that sets the counters of the CPUs apart",
        "sudo dmesg | grep -iE 'tsc|clocksource'",
    )


def set_clock(site: Site) -> Fix:
    """Set the clock by the network."""
    if site.wsl:
        return Fix(
            summary="set WSL's clock by that of Windows; where it happens again and again, update "
            "WSL (`wsl.exe --update`)"
            + (", not in this container but in WSL itself" if site.contained else ""),
            commands=("date", "sudo hwclock -s"),
            safety=Safety.NEEDS_ROOT,
            where=Place.HOST if site.contained else Place.HERE,
        )
    return on_host(
        site,
        "look whether that is so, and have the clock set by the network",
        "date",
        "sudo timedatectl set-ntp true",
    )
