"""Whether a machine is what its policy asks for. Pure."""

import datetime
from collections.abc import Callable, Iterator, Mapping

import msgspec

from envdoctor.facts import Fact, Reason, Snapshot, Unknown
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.machine import Driver, Gpu, Gpus, Host, Limits, WorkingFolder
from envdoctor.facts.python import Distributions, Interpreter, Target
from envdoctor.facts.torch import TorchBuild, TorchDevice, TorchRuntime
from envdoctor.findings import Code, Evidence, Finding, Fix, Severity
from envdoctor.outcomes import Outcome
from envdoctor.policy.codes import (
    POLICY_DRIVER,
    POLICY_EXCEPTION_EXPIRED,
    POLICY_GPU,
    POLICY_PACKAGE_FORBIDDEN,
    POLICY_PACKAGE_MISSING,
    POLICY_SPACE,
    POLICY_SPEED,
    POLICY_VERSION,
)
from envdoctor.policy.records import PolicyFile
from envdoctor.record import Record

GIB = 2**30


class Unseen(Record):
    """Something that is asked for and could not be seen, and why."""

    what: str
    why: Unknown


Judged = Finding | Unseen


class Holding(Record):
    """What does not hold, and whether the whole does; and what the policy makes of a finding."""

    findings: tuple[Finding, ...]
    outcome: Outcome
    overrule: Callable[[Finding], Finding]


def holding(
    held: PolicyFile, snapshot: Snapshot, versions: Mapping[str, str | None], today: datetime.date
) -> Holding:
    """Judge a machine; `versions` are those of the report's stack."""
    judged = (
        *_versions(held, snapshot, versions),
        *_packages(held, snapshot),
        *_gpus(held, snapshot),
        *_room(held, snapshot),
        *_speed(held, snapshot),
    )
    findings = [one for one in judged if isinstance(one, Finding)]
    unseen = [one for one in judged if isinstance(one, Unseen)]
    return Holding(
        findings=(*findings, *_expired(held, today)),
        outcome=_outcome(held, findings, unseen),
        overrule=lambda finding: _as_the_policy_says(held, finding, today),
    )


def _outcome(held: PolicyFile, findings: list[Finding], unseen: list[Unseen]) -> Outcome:
    outcome = Outcome(action="hold", subject=held.path, state="works", source=held.path)
    if findings:
        count = f"{len(findings)} of what it asks for {'is' if len(findings) == 1 else 'are'} not"
        return msgspec.structs.replace(outcome, state="fails", detail=f"{count} so")
    if not unseen:
        return outcome
    # What failed is more than what nobody was asked to look at.
    gravest = next((one for one in unseen if one.why.reason is not Reason.SWITCHED_OFF), unseen[0])
    names = ", ".join(one.what for one in unseen)
    return msgspec.structs.replace(
        outcome, state="unseen", reason=gravest.why.reason, detail=f"{names}: {gravest.why.detail}"
    )


# --- what is asked for ---


def _unknown_driver(snapshot: Snapshot) -> Unknown | None:
    fact = snapshot.get(Driver)
    if isinstance(fact, Unknown):
        return fact
    return _UNTOLD if fact.value.loaded else None


def _unknown_torch(snapshot: Snapshot) -> Unknown | None:
    fact, target = snapshot.get(TorchBuild), snapshot.value(Target)
    usable = target is None or target.problem is None
    if isinstance(fact, Unknown) and _is_none(fact) and usable:
        return None
    return fact if isinstance(fact, Unknown) else _UNTOLD


def _unknown_cuda(snapshot: Snapshot) -> Unknown | None:
    """A build without CUDA has none of its libraries; where one has, they were not found."""
    build, runtime = snapshot.value(TorchBuild), snapshot.get(TorchRuntime)
    if build is None:
        return _unknown_torch(snapshot)
    if build.cuda is None:
        return None
    return runtime if isinstance(runtime, Unknown) else _UNTOLD


def _unknown_python(snapshot: Snapshot) -> Unknown | None:
    fact = snapshot.get(Interpreter)
    return fact if isinstance(fact, Unknown) else _UNTOLD


def _unknown_glibc(snapshot: Snapshot) -> Unknown | None:
    fact = snapshot.get(Host)
    return fact if isinstance(fact, Unknown) else None


_WhyUnknown = Callable[[Snapshot], Unknown | None]

_OF_VERSION: Mapping[str, tuple[str, str, Code, _WhyUnknown]] = {
    "torch": ("torch_version", "torch", POLICY_VERSION, _unknown_torch),
    "cuda": ("torch_cuda", "the CUDA of torch", POLICY_VERSION, _unknown_cuda),
    "cudnn": ("cudnn", "cuDNN", POLICY_VERSION, _unknown_cuda),
    "nccl": ("nccl", "NCCL", POLICY_VERSION, _unknown_cuda),
    "python": ("python", "Python", POLICY_VERSION, _unknown_python),
    "glibc": ("glibc", "glibc", POLICY_VERSION, _unknown_glibc),
    "driver": ("driver_release", "the NVIDIA driver", POLICY_DRIVER, _unknown_driver),
    "driver-cuda": ("driver_cuda", "the CUDA of the driver", POLICY_DRIVER, _unknown_driver),
}
"""By the key: the field of the stack, its name, the disease, and why there is no version: null
where there is nothing that could have one."""


def _versions(
    held: PolicyFile, snapshot: Snapshot, versions: Mapping[str, str | None]
) -> Iterator[Judged]:
    for field in msgspec.structs.fields(held.policy.versions):
        wanted = getattr(held.policy.versions, field.name)
        if wanted is None:
            continue
        name, what, code, why_unknown = _OF_VERSION[field.encode_name]
        found = versions.get(name)
        unknown = why_unknown(snapshot) if found is None else None
        if unknown is not None:
            yield Unseen(what=what, why=unknown)
        elif found is None or not holds(found, wanted):
            yield _violation(held, code, f"versions.{field.encode_name}", what, found, wanted)


def holds(version: str, wanted: str) -> bool:
    """Whether a version lies in a range; what is no version lies in none."""
    from packaging.specifiers import SpecifierSet

    from envdoctor.versions import parse_version

    parsed = parse_version(version)
    return parsed is not None and SpecifierSet(wanted).contains(parsed, prereleases=True)


def _packages(held: PolicyFile, snapshot: Snapshot) -> Iterator[Judged]:
    asked = held.policy.packages
    if not asked.required and not asked.forbidden:
        return
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    fact = snapshot.get(Distributions)
    if isinstance(fact, Unknown):
        yield Unseen(what="packages", why=fact)
        return
    for text in asked.required:
        requirement = Requirement(text)
        found = fact.value.first(canonicalize_name(requirement.name))
        version = found.version if found else None
        if version is None or not holds(version, str(requirement.specifier)):
            yield _violation(
                held, POLICY_PACKAGE_MISSING, "packages.required", requirement.name, version, text
            )
    for text in asked.forbidden:
        requirement = Requirement(text)
        found = fact.value.first(canonicalize_name(requirement.name))
        if found is not None and holds(found.version, str(requirement.specifier)):
            yield _violation(
                held,
                POLICY_PACKAGE_FORBIDDEN,
                "packages.forbidden",
                requirement.name,
                found.version,
                text,
            )


def _gpus(held: PolicyFile, snapshot: Snapshot) -> Iterator[Judged]:
    rules = held.policy.gpus
    if rules == type(rules)():
        return
    devices = _devices(snapshot)
    if isinstance(devices, Unknown):
        yield Unseen(what="GPUs", why=devices)
        return
    if rules.min_count is not None and len(devices) < rules.min_count:
        found, wanted = str(len(devices)), f"at least {rules.min_count}"
        yield _violation(held, POLICY_GPU, "gpus.min-count", "the number of GPUs", found, wanted)
    for index, gpu in enumerate(devices):
        yield from _gpu(held, index, gpu)


def _devices(snapshot: Snapshot) -> tuple[Gpu | TorchDevice, ...] | Unknown:
    gpus, runtime = snapshot.get(Gpus), snapshot.value(TorchRuntime)
    if not isinstance(gpus, Unknown) and gpus.value.devices:
        return gpus.value.devices
    if runtime is not None and runtime.devices:
        return runtime.devices
    return gpus if isinstance(gpus, Unknown) and not _is_none(gpus) else ()


def _gpu(held: PolicyFile, index: int, gpu: Gpu | TorchDevice) -> Iterator[Judged]:
    rules = held.policy.gpus
    name = f"GPU {index}"
    if rules.models and not any(one.lower() in gpu.name.lower() for one in rules.models):
        wanted = " or ".join(rules.models)
        yield _violation(held, POLICY_GPU, "gpus.models", name, gpu.name, wanted)
    if rules.min_memory_gib is not None:
        yield from _size(
            held,
            POLICY_GPU,
            "gpus.min-memory-gib",
            f"the memory of {name}",
            gpu.memory_bytes,
            rules.min_memory_gib,
        )
    if rules.compute_capability is not None:
        what, wanted = f"the compute capability of {name}", rules.compute_capability
        if gpu.compute_capability is None:
            yield Unseen(what=what, why=_UNTOLD)
        elif not holds(gpu.compute_capability, wanted):
            yield _violation(
                held, POLICY_GPU, "gpus.compute-capability", what, gpu.compute_capability, wanted
            )


_UNTOLD = Unknown(reason=Reason.NOT_OBSERVED, detail="nothing tells it")

_ROOM: Mapping[str, tuple[type[Fact], str, str]] = {
    "min_memory_gib": (Host, "memory_bytes", "the memory of the machine"),
    "min_free_memory_gib": (Host, "memory_available_bytes", "free memory"),
    "min_free_disk_gib": (WorkingFolder, "free_bytes", "free room on the disk of this folder"),
    "min_shm_gib": (Limits, "shm_bytes", "the size of /dev/shm"),
}
"""By the field: the fact that knows it, its field there, and its name."""


def _room(held: PolicyFile, snapshot: Snapshot) -> Iterator[Judged]:
    for field in msgspec.structs.fields(held.policy.machine):
        wanted = getattr(held.policy.machine, field.name)
        kind, name, what = _ROOM[field.name]
        fact = snapshot.get(kind)
        if wanted is None:
            continue
        if isinstance(fact, Unknown):
            yield Unseen(what=what, why=fact)
        else:
            key, size = f"machine.{field.encode_name}", getattr(fact.value, name)
            yield from _size(held, POLICY_SPACE, key, what, size, wanted)


def _size(
    held: PolicyFile, code: Code, key: str, what: str, size: int | None, wanted_gib: float
) -> Iterator[Judged]:
    if size is None:
        yield Unseen(what=what, why=_UNTOLD)
    elif size < wanted_gib * GIB:
        found, wanted = f"{size / GIB:.2f} GiB", f"at least {wanted_gib:g} GiB"
        yield _violation(held, code, key, what, found, wanted)


def _speed(held: PolicyFile, snapshot: Snapshot) -> Iterator[Judged]:
    fact = snapshot.get(Calibration)
    for field in msgspec.structs.fields(held.policy.speed):
        wanted = getattr(held.policy.speed, field.name)
        if wanted is None:
            continue
        what = "the CPU" if field.name == "cpu" else f"a GPU in {field.name}"
        if isinstance(fact, Unknown):
            yield Unseen(what=f"images/s of {what}", why=_not_measured(fact))
            continue
        rates = best_rates(fact.value).get(field.name, {})
        if not rates:
            yield Unseen(what=f"images/s of {what}", why=_UNTOLD)
        for device, rate in rates.items():
            if rate < wanted:
                found, asked = f"{rate:.0f} images/s", f"at least {wanted:g} images/s"
                what = f"training on {device} in {field.name}"
                yield _violation(held, POLICY_SPEED, f"speed.{field.name}", what, found, asked)


def best_rates(calibration: Calibration) -> dict[str, dict[str, float]]:
    """The best images/s of each device, by the keys that a policy has for them."""
    rates: dict[str, dict[str, float]] = {}
    for run in calibration.runs:
        of_key = rates.setdefault("cpu" if run.device == "cpu" else run.precision, {})
        of_key[run.device] = max(of_key.get(run.device, 0.0), run.images_per_s.median)
    return rates


def _not_measured(fact: Unknown) -> Unknown:
    if fact.reason is not Reason.NOT_OBSERVED:
        return fact
    return Unknown(reason=Reason.SWITCHED_OFF, detail="`envdoctor --policy` measures, not `check`")


def _is_none(fact: Unknown) -> bool:
    """Whether it is not known because there is nothing to be known."""
    return fact.reason is Reason.NOT_APPLICABLE


def _violation(
    held: PolicyFile, code: Code, key: str, what: str, found: str | None, wanted: str
) -> Finding:
    line = held.line_of(key)
    return code.finding(
        subjects=(what,),
        what=what,
        found=found or "not there",
        wanted=wanted,
        file=held.path,
        line=line,
        evidence=(Evidence(label=key, value=wanted, source=f"{held.path}, line {line}"),),
        fixes=(
            Fix(summary=f"bring {what} to what is asked for, or change line {line} of {held.path}"),
        ),
    )


# --- severities and exceptions ---


def _expired(held: PolicyFile, today: datetime.date) -> Iterator[Finding]:
    for number, one in enumerate(held.policy.ignore):
        if one.expires < today:
            yield POLICY_EXCEPTION_EXPIRED.finding(
                subjects=(one.rule,),
                rule=one.rule,
                expires=one.expires.isoformat(),
                because=one.reason,
                file=held.path,
                line=held.line_of(f"ignore.{number}"),
                fixes=(Fix(summary="repair what it was for, or give the exception another day"),),
            )


def _as_the_policy_says(held: PolicyFile, finding: Finding, today: datetime.date) -> Finding:
    """The finding with the severity that the policy gives its rule. What is ignored stays, as an
    information that says who ignores it and until when."""
    valid = (one for one in held.policy.ignore if one.rule == finding.code)
    ignored = next((one for one in valid if one.expires >= today), None)
    if ignored is not None:
        note = f"ignored by {held.path} until {ignored.expires}: {ignored.reason}"
        return _with(finding, Severity.INFO, note)
    given = held.policy.severity.get(finding.code)
    if given is None or given == finding.severity.value:
        return finding
    return _with(finding, Severity(given), f"{held.path} makes this {given}")


def _with(finding: Finding, severity: Severity, note: str) -> Finding:
    notes = (*finding.notes, note)
    return msgspec.structs.replace(finding, severity=severity, notes=notes)
