"""The doctor for programs: `envdoctor.check()`, `.calibrate()` and `.diff()` give typed reports.

Nothing is printed, and nothing is redacted: what is shown in a notebook is, what is returned is for
the program itself. All raise envdoctor.errors.BadInput for what cannot be used.
"""

import html
import sys
import time
from collections.abc import Sequence
from typing import Any, Literal

from envdoctor.calibration.assess import no_reference
from envdoctor.companions import Extent
from envdoctor.compare.records import Comparison
from envdoctor.diagnose import diagnose_calibration
from envdoctor.errors import BadInput
from envdoctor.facts.calibration import Model, Precision, Settings
from envdoctor.findings import Severity
from envdoctor.formats import Look
from envdoctor.options import Options, Scope, Tried
from envdoctor.redaction import user_filter
from envdoctor.render.emitters import EMITTERS
from envdoctor.report import CalibrationReport, Report
from envdoctor.session import Session

_COLUMNS = 100


def check(
    python: str | None = None,
    *,
    facts: str | None = None,
    static: bool = False,
    deep: bool = False,
    companions: Extent = "light",
    tried: Sequence[Tried] = (),
    expect: Literal["gpu", "cpu"] | None = None,
    policy: str | None = None,
    scope: Scope | None = None,
    root: str | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    fail_on: Literal["error", "warning"] = "error",
    timeout_s: float = 300.0,
) -> Report:
    """Diagnose, as `envdoctor check` does with the options of the same names; `tried` is
    `--try`.

    `python` is an interpreter, a virtual environment or a conda prefix; by default this program's
    own interpreter. `facts` is a recorded file that is diagnosed instead, `policy` the file of what
    the machine is held to. `timeout_s` bounds the
    whole in seconds. Raises BadInput.
    """
    _show_in_notebooks()
    if tried and (static or root is not None or scope == "node" or facts is not None):
        raise BadInput(
            "`tried` runs the target's torch, and static, root, facts and scope='node' run nothing "
            "of it; give one"
        )
    session = Session(time.monotonic() + timeout_s)
    options = Options(
        python=python or sys.executable,
        static=static,
        deep=deep,
        companions=companions,
        tried=tuple(tried),
        expect=expect,
        policy=policy,
        scope=scope,
        root=root,
        timeout_s=timeout_s,
        only=tuple(only),
        skip=tuple(skip),
        fail_on=Severity(fail_on).value,
    )
    if facts is not None:
        return session.examine_recorded(facts, options)
    return session.examine(options)


def calibrate(
    python: str | None = None,
    *,
    model: Model = "resnet50",
    devices: Sequence[str] = (),
    precisions: Sequence[Precision] = (),
    budget_s: float | None = None,
    what_if: Sequence[str] = (),
    timeout_s: float = 3600.0,
) -> CalibrationReport:
    """Measure a training step, as `envdoctor calibrate` does with the options of the same names; by
    default with this program's own interpreter. Times in seconds. Raises BadInput."""
    _show_in_notebooks()
    if what_if and no_reference(model):
        raise BadInput(no_reference(model))
    session = Session(time.monotonic() + timeout_s)
    settings = Settings(
        model=model,
        devices=tuple(devices),
        precisions=tuple(precisions),
        budget_s=budget_s,
        what_if=tuple(what_if),
    )
    snapshot = session.measure_target(python or sys.executable, settings)
    return diagnose_calibration(snapshot, session.loaded, session.services)


def diff(
    first: str,
    second: str | None = None,
    *,
    python: str | None = None,
    static: bool = False,
    timeout_s: float = 300.0,
) -> Comparison:
    """How two machines or environments differ, as `envdoctor diff` says it.

    Each is a facts file, a report, a text of collect_env, or an interpreter, venv or conda prefix,
    which is examined now. `first` alone is compared with what `python` sees here, by default this
    program's own interpreter. `timeout_s` bounds the whole in seconds. Raises BadInput.
    """
    _show_in_notebooks()
    if python is not None and second is not None:
        raise BadInput("`python` names what `first` is compared with, and `second` does; give one")
    # Only who compares waits for what it needs.
    from envdoctor.comparing import compared, examined

    session = Session(time.monotonic() + timeout_s)
    options = Options(python=python or sys.executable, static=static, timeout_s=timeout_s)
    sides = [examined(session, named, options) for named in (first, second)]
    return compared(session, *(sides if second is not None else sides[::-1]))


def read(path: str) -> Report:
    """The diagnosis of a file that `envdoctor collect` or `check --json` wrote. Raises BadInput."""
    return check(facts=path)


def in_html(report: Report | CalibrationReport | Comparison) -> str:
    """The text of a report for a notebook; home folders, tokens and credentials are removed, as
    notebooks are shown to others."""
    text = EMITTERS["text"](user_filter().document(report), Look(width=_COLUMNS))
    return f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>'


def _show_in_notebooks() -> None:
    """Where this runs in IPython, let it show reports by their text."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        formatter = shell.display_formatter.formatters["text/html"]
        formatter.for_type(Report, in_html)
        formatter.for_type(CalibrationReport, in_html)
        formatter.for_type(Comparison, in_html)
