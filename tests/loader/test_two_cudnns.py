"""Two cuDNNs: which of their parts opens which decides how sure one can be without a GPU."""

import pytest
from envdoctor_checks.library_pins import cudnn_version_mismatch
from envdoctor_checks.loader import library_problem

from envdoctor.api import Confidence, Severity, Site
from envdoctor.facts.libraries import LibraryResolution, Problem, ResolvedLibrary
from envdoctor.knowledge import load

KNOWN = load()
WHEEL, OTHER = "/venv/nvidia/cudnn/lib", "/opt/cudnn/lib"


def part(soname: str, folder: str, version: str, *needed_by: str) -> ResolvedLibrary:
    return ResolvedLibrary(
        soname=soname, path=f"{folder}/{soname}", version=version, needed_by=needed_by
    )


@pytest.mark.parametrize(
    ("opened_by", "severity", "confidence"),
    [
        ("libcudnn.so.9", Severity.ERROR, Confidence.CERTAIN),
        ("libcudnn_graph.so.9", Severity.WARNING, Confidence.LIKELY),
    ],
)
def test_only_what_libcudnn_opens_itself_is_sure_to_break(
    opened_by: str, severity: Severity, confidence: Confidence
) -> None:
    resolution = LibraryResolution(
        root="/venv/torch/_C.so",
        libraries=(
            part("libcudnn.so.9", WHEEL, "9.26.0"),
            part("libcudnn_graph.so.9", WHEEL, "9.26.0", f"{WHEEL}/libcudnn.so.9"),
            part("libcudnn_ops.so.9", OTHER, "9.5.1", f"{WHEEL}/{opened_by}"),
        ),
    )
    (finding,) = cudnn_version_mismatch.fn(
        resolution=resolution, used=None, trials=None, known=KNOWN
    )
    assert (finding.severity, finding.confidence) == (severity, confidence)


@pytest.mark.parametrize(
    ("opened_by", "severity"),
    [("libcudnn.so.9", Severity.ERROR), ("libcudnn_graph.so.9", Severity.WARNING)],
)
def test_a_symbol_that_only_a_part_of_a_part_lacks_is_a_warning(
    opened_by: str, severity: Severity
) -> None:
    engines = f"{OTHER}/libcudnn_ops.so.9"
    problem = Problem(
        kind="symbol", library=engines, needed_by=f"{WHEEL}/{opened_by}", names=("cudnnNew",)
    )
    resolution = LibraryResolution(
        root="/venv/torch/_C.so",
        libraries=(
            part("libcudnn.so.9", WHEEL, "9.26.0"),
            ResolvedLibrary(
                soname="libcudnn_ops.so.9",
                path=engines,
                when="use",
                needed_by=(f"{WHEEL}/{opened_by}",),
                problems=(problem,),
            ),
        ),
    )
    (finding,) = library_problem.fn(
        resolution=resolution,
        distributions=None,
        trials=None,
        installed=None,
        site=Site(),
        known=KNOWN,
    )
    assert finding.severity is severity
