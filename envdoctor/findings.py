"""What a diagnosis is made of: codes, evidence, fixes, findings, the verdict and the exit code."""

import enum
from typing import Any

import msgspec

from envdoctor.record import Record


class Severity(enum.Enum):
    """How much a finding matters.

    ERROR: torch cannot do what the user installed it for. WARNING: it works, but slower or at
    risk. INFO: worth knowing, nothing to repair.
    """

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Position in the order info < warning < error, from 0."""
        return list(Severity).index(self)


class Confidence(enum.Enum):
    """How sure the doctor is that the finding is true."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Safety(enum.Enum):
    """What running the commands of a fix would touch. No fix is ever executed by the doctor."""

    SAFE = "safe"
    CHANGES_ENV = "changes-env"
    NEEDS_ROOT = "needs-root"
    MANUAL = "manual"


class Evidence(Record):
    """One observation behind a finding; `source` is the file, symbol, command or variable read."""

    label: str
    value: str
    source: str


class Fix(Record):
    """One way to repair: a sentence, and commands that can be pasted into a shell."""

    summary: str
    commands: tuple[str, ...] = ()
    safety: Safety = Safety.MANUAL


class Finding(Record):
    """A disease that was found on the machine.

    `id` is the code, followed by `:subject` where there is one; `because` is the id of the
    finding that is its root cause; `data` holds the arguments of the message.
    """

    id: str
    code: str
    name: str
    family: str
    severity: Severity
    confidence: Confidence
    message: str
    subject: str | None = None
    because: str | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    fixes: tuple[Fix, ...] = ()
    notes: tuple[str, ...] = ()
    page: str = ""


class Code(Record):
    """A disease: its stable id and name, and the one-line template of its message.

    `explains` are the ids of codes whose finding is only a consequence once this one is found.
    """

    id: str
    name: str
    family: str
    severity: Severity
    message: str
    explains: tuple[str, ...] = ()

    def finding(
        self,
        *,
        subject: str | None = None,
        severity: Severity | None = None,
        confidence: Confidence = Confidence.CERTAIN,
        evidence: tuple[Evidence, ...] = (),
        fixes: tuple[Fix, ...] = (),
        notes: tuple[str, ...] = (),
        **data: Any,
    ) -> Finding:
        """This disease, found; `data` fills the message (KeyError if an argument is missing)."""
        return Finding(
            id=self.id if subject is None else f"{self.id}:{subject}",
            code=self.id,
            name=self.name,
            family=self.family,
            severity=severity or self.severity,
            confidence=confidence,
            message=self.message.format(subject=subject, **data),
            subject=subject,
            data=data,
            evidence=evidence,
            fixes=fixes,
            notes=notes,
            page=f"rule {self.id}",
        )


class Verdict(enum.Enum):
    """The answer in one word, in the order in which it is decided."""

    BROKEN = "broken"
    INCOMPLETE = "incomplete"
    DEGRADED = "degraded"
    HEALTHY = "healthy"


EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_INCOMPLETE = 3
EXIT_INTERRUPTED = 130


def verdict_of(findings: tuple[Finding, ...], *, incomplete: bool) -> Verdict:
    """The verdict; it depends on what was found and on what could not be looked at, on no flag."""
    severities = {finding.severity for finding in findings}
    if Severity.ERROR in severities:
        return Verdict.BROKEN
    if incomplete:
        return Verdict.INCOMPLETE
    if Severity.WARNING in severities:
        return Verdict.DEGRADED
    return Verdict.HEALTHY


def exit_code_of(
    findings: tuple[Finding, ...], *, incomplete: bool, fail_on: Severity = Severity.ERROR
) -> int:
    """Exit code of `check`: 1 for a finding at or above `fail_on`, else 3 if incomplete, else 0."""
    if any(finding.severity.rank >= fail_on.rank for finding in findings):
        return EXIT_FINDINGS
    return EXIT_INCOMPLETE if incomplete else EXIT_OK
