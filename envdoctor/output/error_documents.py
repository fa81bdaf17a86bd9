"""Why there is no result, as one valid document of each format that programs read.

Nothing is imported: this is also what is written when the program is ended.
"""

from collections.abc import Callable, Mapping


def error_document(name: str, message: str, code: int) -> str:
    """The document of an error in a format, with a final line break. The message is one line
    without controls, as the filter gives it."""
    return _DOCUMENTS[name](message, code) + "\n"


def _json(message: str, code: int) -> str:
    return f'{{"type": "error", "exit_code": {code}, "message": {_quoted(message)}}}'


def _junit(message: str, code: int) -> str:
    text = message.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    # Two characters that XML has not.
    text = text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<testsuites tests="1" failures="0" errors="1" skipped="0">'
        '<testsuite name="envdoctor" tests="1" failures="0" errors="1" skipped="0">'
        f'<testcase classname="envdoctor" name="run"><error type="exit-{code}" message="{text}"/>'
        "</testcase></testsuite></testsuites>"
    )


def _sarif(message: str, code: int) -> str:
    return (
        '{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", '
        '"runs": [{"tool": {"driver": {"name": "envdoctor"}}, "results": [], "invocations": ['
        f'{{"executionSuccessful": false, "exitCode": {code}, "toolExecutionNotifications": ['
        f'{{"level": "error", "message": {{"text": {_quoted(message)}}}}}]}}]}}]}}'
    )


def _github(message: str, code: int) -> str:
    return f"::error title=envdoctor::{message.replace('%', '%25')}"


def _gitlab(message: str, code: int) -> str:
    return (
        f'[{{"description": {_quoted(message)}, "check_name": "envdoctor", "severity": "blocker", '
        f'"fingerprint": "envdoctor-exit-{code}", '
        '"location": {"path": "envdoctor.toml", "lines": {"begin": 1}}}]'
    )


def _openmetrics(message: str, code: int) -> str:
    return (
        "# HELP envdoctor_exit_code The exit code of the last run that wrote this.\n"
        "# TYPE envdoctor_exit_code gauge\n"
        f"envdoctor_exit_code {code}\n"
        "# EOF"
    )


def _quoted(text: str) -> str:
    """A text without controls as one of JSON."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_DOCUMENTS: Mapping[str, Callable[[str, int], str]] = {
    "json": _json,
    "jsonl": _json,
    "junit": _junit,
    "sarif": _sarif,
    "github": _github,
    "gitlab": _gitlab,
    "openmetrics": _openmetrics,
}
