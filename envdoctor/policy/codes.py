"""The diseases of a machine that is not what its policy asks for."""

from envdoctor.findings import Code, Fault, Layer, Severity

POLICY = "policy"
"""The family of all of them."""


def _code(id: str, name: str, message: str, detailed: str, fault: Fault) -> Code:
    return Code(
        id=id,
        name=name,
        family=POLICY,
        severity=Severity.ERROR,
        topic="policy",
        layer=Layer.POLICY,
        fault=fault,
        breaks="hold",
        message=message,
        detailed=detailed,
    )


_ASKED = "{what} is {found}, and {file} asks for {wanted}"

POLICY_VERSION = _code(
    "ED800", "policy-version", "a version is not what the policy asks for", _ASKED, "environment"
)
POLICY_DRIVER = _code(
    "ED801", "policy-driver", "the driver is not what the policy asks for", _ASKED, "machine"
)
POLICY_PACKAGE_MISSING = _code(
    "ED802",
    "policy-package-missing",
    "a package that the policy requires is not installed",
    "{what} is {found}, and {file} requires {wanted}",
    "environment",
)
POLICY_PACKAGE_FORBIDDEN = _code(
    "ED803",
    "policy-package-forbidden",
    "a package is installed that the policy forbids",
    "{what} {found} is installed, and {file} forbids {wanted}",
    "environment",
)
POLICY_GPU = _code(
    "ED804", "policy-gpu", "the GPUs are not what the policy asks for", _ASKED, "machine"
)
POLICY_SPACE = _code(
    "ED805",
    "policy-space",
    "there is less memory or room on disk than the policy asks for",
    _ASKED,
    "machine",
)
POLICY_SPEED = _code(
    "ED806", "policy-speed", "training is slower than the policy asks for", _ASKED, "machine"
)
POLICY_EXCEPTION_EXPIRED = Code(
    id="ED807",
    name="policy-exception-expired",
    family=POLICY,
    severity=Severity.WARNING,
    topic="policy",
    layer=Layer.POLICY,
    fault="environment",
    message="an exception of the policy has expired",
    detailed="the exception for {rule} in {file} expired on {expires}: {because}",
)

POLICY_CODES = (
    POLICY_VERSION,
    POLICY_DRIVER,
    POLICY_PACKAGE_MISSING,
    POLICY_PACKAGE_FORBIDDEN,
    POLICY_GPU,
    POLICY_SPACE,
    POLICY_SPEED,
    POLICY_EXCEPTION_EXPIRED,
)
