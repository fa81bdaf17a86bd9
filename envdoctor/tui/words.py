"""The words, symbols and colours of states. A symbol never stands without its word."""

from rich.style import Style as RichStyle
from rich.text import Span, Text
from textual.content import Content
from textual.style import Style

from envdoctor.findings import Finding, Safety, Severity, Verdict
from envdoctor.tui.chain import LinkState
from envdoctor.tui.grouping import Fate

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

SEVERITY_SYMBOL = {Severity.ERROR: "✗", Severity.WARNING: "!", Severity.INFO: "i"}
SEVERITY_STYLE = {
    Severity.ERROR: "bold $text-error",
    Severity.WARNING: "bold $text-warning",
    Severity.INFO: "bold $text-primary",
}
VERDICT_SYMBOL = {
    Verdict.BROKEN: "✗",
    Verdict.INCOMPLETE: "?",
    Verdict.DEGRADED: "!",
    Verdict.UNPROVEN: "~",
    Verdict.HEALTHY: "✓",
}
VERDICT_STYLE = {
    Verdict.BROKEN: "bold $text-error",
    Verdict.INCOMPLETE: "bold $text-warning",
    Verdict.DEGRADED: "bold $text-warning",
    Verdict.UNPROVEN: "bold $text-primary",
    Verdict.HEALTHY: "bold $text-success",
}
LINK_SYMBOL = {
    LinkState.OK: "✓",
    LinkState.BROKEN: "✗",
    LinkState.AFFECTED: "↳",
    LinkState.WARNING: "!",
    LinkState.ABSENT: "–",
    LinkState.UNUSED: "–",
    LinkState.UNKNOWN: "?",
    LinkState.WAITING: "…",
}
LINK_STYLE = {
    LinkState.OK: "$text-success",
    LinkState.BROKEN: "bold $text-error",
    LinkState.AFFECTED: "$text-error",
    LinkState.WARNING: "bold $text-warning",
    LinkState.ABSENT: "$text-muted",
    LinkState.UNUSED: "$text-muted",
    LinkState.UNKNOWN: "$text-warning",
    LinkState.WAITING: "$text-muted",
}
SAFETY = {
    Safety.SAFE: "changes nothing",
    Safety.CHANGES_ENV: "changes this environment",
    Safety.NEEDS_ROOT: "needs root",
    Safety.MANUAL: "by hand",
}


def rich_style(style: str) -> RichStyle:
    """A style with colours of the theme, for rich's tables and trees, which know no theme."""
    return Style.parse(style).rich_style


def themed(text: Text) -> Text:
    """The text with styles like `$text-error` in the colours of the present theme."""
    spans = [
        Span(span.start, span.end, rich_style(str(span.style))) if "$" in str(span.style) else span
        for span in text.spans
    ]
    return Text(text.plain, style=text.style, spans=spans, end=text.end)


def severity_label(finding: Finding) -> Content:
    """`✗ error ED201`, coloured."""
    severity = finding.severity
    text = f"{SEVERITY_SYMBOL[severity]} {severity.value} {finding.code}"
    return Content.styled(text, SEVERITY_STYLE[severity])


def sureness(finding: Finding) -> str:
    """How sure the doctor is, in brackets; nothing where it is certain."""
    return "" if finding.confidence.value == "certain" else f" ({finding.confidence.value})"


def fate_text(finding: Finding, fate: Fate) -> str:
    """`✓ ED201 driver-too-old is gone`; empty for one that still is there."""
    texts = {
        Fate.THERE: "",
        Fate.GONE: "✓ {} is fixed",
        Fate.UNSEEN: "? {} could not be looked at again",
        Fate.ELSEWHERE: "{} was found in another target or file, not in what is shown now",
    }
    return texts[fate].format(f"{finding.code} {finding.name}")


def plural(number: int, one: str, many: str = "") -> str:
    """`1 check`, `2 checks`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def moment(text: str) -> str:
    """`2026-01-02 03:04 UTC` for the moment of a document; as it is where it has another form."""
    date, t, rest = text.partition("T")
    is_utc = t and rest.endswith(("Z", "+00:00"))
    return f"{date} {rest[:5]} UTC" if is_utc else text


def spinner(seconds: float) -> str:
    """The frame of the spinner at that moment."""
    return SPINNER[int(seconds * 10) % len(SPINNER)]
