"""What an agent needs of a document of the program: no facts, no timings, the worst first. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]


def of_report(report: Json) -> Json:
    """The verdict, what does not work, and the root causes with what follows from each."""
    findings = report["findings"]
    roots = [one for one in findings if one["because"] is None]
    return pruned(
        {
            **_only(report, "verdict", "fault", "exit_code"),
            "target": _only(report["target"] or {}, "path", "chosen_because", "problem"),
            "stack": report["stack"],
            "works": [_name(one) for one in report["outcomes"] if one["state"] == "works"],
            "does_not_work": [
                {
                    "outcome": _name(one),
                    **_only(one, "wanted", "state", "basis", "reason", "detail"),
                }
                for one in report["outcomes"]
                if one["state"] != "works"
            ],
            "findings": [_root(one, findings) for one in roots],
            "checks_that_could_not_look": [
                _only(one, "name", "reason")
                for one in report["checks"]
                if one["status"] == "crashed" or one["unknown"] in _FAILED_LOOKS
            ],
        }
    )


_FAILED_LOOKS = ("timed-out", "crashed", "undecodable")


def _name(outcome: Json) -> str:
    return ":".join(filter(None, (outcome["action"], outcome["subject"])))


_OF_A_ROOT = (
    *("id", "name", "severity", "fault", "confidence", "message"),
    *("fixes", "evidence", "notes", "page"),
)


def _root(root: Json, findings: list[Json]) -> Json:
    caused = [
        _only(one, "id", "name", "message") for one in findings if one["because"] == root["id"]
    ]
    return {**_only(root, *_OF_A_ROOT), "causes": caused}


def of_libraries(document: Json) -> Json:
    """What is wrong, and the file that wins for each library, those with a problem first."""
    libraries = sorted(document["libraries"], key=lambda one: not one["problems"])
    return pruned(
        {
            **_only(document, "import_error", "clean_import_error", "preload_problems"),
            **_only(document, "extensions", "differences", "notes", "library_path"),
            "libraries": [one if document["asked"] else _library(one) for one in libraries],
        }
    )


def _library(one: Json) -> Json:
    brief = _only(one, "soname", "path", "rule", "version", "owner")
    if not one["problems"]:
        return brief
    return {**brief, **_only(one, "problems", "alternatives", "needed_by", "optional")}


def of_prescription(document: Json) -> Json:
    """The builds that work, the smallest change first."""
    return pruned(document)


def of_comparison(document: Json) -> Json:
    """The differences, worst first, and what they explain."""
    return pruned(document, without=("tool", "schema_version", "created_at"))


def of_fit(document: Json) -> Json:
    """The judgement part by part. The sources are long and the same for all."""
    return pruned(document, without=("source",))


def pruned(value: Json, without: tuple[str, ...] = ()) -> Json:
    """The value without what is empty or null, the names of types, and some keys."""
    kept = {
        key: _pruned(item, without)
        for key, item in value.items()
        if key != "type" and key not in without
    }
    return {key: item for key, item in kept.items() if item not in (None, "", [], {})}


def _pruned(value: Any, without: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return pruned(value, without)
    if isinstance(value, list):
        return [_pruned(one, without) for one in value]
    return value


def _only(value: Mapping[str, Any], *names: str) -> Json:
    return {name: value[name] for name in names if name in value}


Digest = Callable[[Json], Json]
