"""Whether NVIDIA still repairs the branch of the driver that runs."""

from envdoctor.api import (
    Code,
    DriverRelease,
    Evidence,
    Findings,
    GpuTrace,
    Knowledge,
    Layer,
    Severity,
    Site,
    advised_branch,
    check,
    system,
)

DRIVER_BRANCH_ENDED = Code(
    id="ED256",
    name="driver-branch-ended",
    family="driver-branch-ended",
    severity=Severity.INFO,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    message="NVIDIA repairs the branch of this driver no more",
    detailed="driver {release} is of branch {branch}, which NVIDIA repairs no more{when}",
)


@check(DRIVER_BRANCH_ENDED)
def driver_branch_ended(
    release: DriverRelease, trace: GpuTrace, known: Knowledge, site: Site
) -> Findings:
    """A branch that has had no repair of its security for a year, on a machine whose GPUs a
    supported one serves as well."""
    if release.release is None or release.windows or site.contained or site.jetson:
        return
    branch = known.driver_branch(release.release)
    capabilities = [gpu.compute_capability for gpu in trace.visible if gpu.compute_capability]
    if branch is None or branch.status != "EOL" or not capabilities:
        return
    # Of a branch that has ended this year its users know; of older ones no date is kept.
    if branch.end_of_life and branch.end_of_life >= _a_year_before(known.as_of):
        return
    better = advised_branch((branch.branch,), capabilities, known)
    if better is None or better.status != "supported":
        return
    yield DRIVER_BRANCH_ENDED.finding(
        release=release.release,
        branch=branch.branch,
        when=f" since {branch.end_of_life}" if branch.end_of_life else "",
        evidence=(Evidence(label="driver release", value=release.release, source=release.source),),
        fixes=(system.update_driver(site, better.branch, branch=better.branch),),
        notes=(f"source: {branch.source}, retrieved {branch.retrieved}",),
    )


def _a_year_before(day: str) -> str:
    year, _, rest = day.partition("-")
    return f"{int(year) - 1}-{rest}"
