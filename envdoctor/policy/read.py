"""Reads a policy: `envdoctor.toml`, a lock, or the table `[tool.envdoctor]` of a pyproject.toml.

What cannot be used is refused on one line, with file, place and remedy.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import msgspec

from envdoctor.errors import BadInput, nearest
from envdoctor.policy.records import GivenSeverity, Policy, PolicyFile, WantedOutcome
from envdoctor.regular_files import only_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_BYTES = 2**20
_PYPROJECT = "pyproject.toml"
_TABLE = "tool.envdoctor"


def read_policy(path: str, rules: Mapping[str, str]) -> PolicyFile:
    """The policy in a file. `rules` are the codes by every word that names one. Raises BadInput."""
    text = _text_of(path)
    try:
        data: Any = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise BadInput(f"`{path}` is no valid TOML: {error}") from error
    in_pyproject = os.path.basename(path) == _PYPROJECT
    if in_pyproject:
        data = _table_of(path, data)
    lines = dict(_lines_of(text, f"{_TABLE}." if in_pyproject else ""))
    shown = os.path.relpath(path) if _is_here(path) else path
    reader = _Reader(path, lines, rules)
    return PolicyFile(path=shown, policy=reader.policy(data), lines=lines)


def _text_of(path: str) -> str:
    try:
        with open(path, "rb", opener=only_regular) as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"cannot read the policy `{path}`: {reason}") from error
    if len(data) > _MOST_BYTES:
        raise BadInput(f"the policy `{path}` is longer than a policy is (1 MiB)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"the policy `{path}` is not UTF-8 text") from error


def _table_of(path: str, data: Any) -> Any:
    tool = data.get("tool", {})
    table = tool.get("envdoctor") if isinstance(tool, dict) else None
    if table is None:
        raise BadInput(f"`{path}` has no table [{_TABLE}]; write the policy there")
    return table


def _is_here(path: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(".") + os.sep)


_HEADER = re.compile(r"\s*(?P<array>\[)?\[\s*(?P<name>[^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*(?P<name>[\w.\"'-]+?)\s*=")


def _lines_of(text: str, prefix: str) -> Iterator[tuple[str, int]]:
    """Keys and the lines where they first stand. A line in a text of several lines could be taken
    for one; it would only be pointed at."""
    table, counts = "", dict[str, int]()
    seen = set()
    for number, line in enumerate(text.split("\n"), 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = header["name"].replace(" ", "")
            if header["array"]:
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}.{counts[table]}"
            name = table
        elif key:
            name = f"{table}.{key['name']}" if table else key["name"]
        else:
            continue
        name = name.replace('"', "").replace("'", "")
        if name not in seen and (name.startswith(prefix) or name == prefix.rstrip(".")):
            seen.add(name)
            yield name.removeprefix(prefix), number


class _Reader:
    """Makes a policy of what a file holds, or says where in it and why that cannot be."""

    def __init__(self, path: str, lines: Mapping[str, int], rules: Mapping[str, str]) -> None:
        self._path = path
        self._lines = lines
        self._rules = rules

    def policy(self, data: Any) -> Policy:
        """The policy. Raises BadInput."""
        try:
            policy = msgspec.convert(data, Policy)
        except msgspec.ValidationError as error:
            raise self._refused_by_type(str(error), data) from error
        self._refuse_bad_ranges(policy)
        self._refuse_bad_numbers(policy)
        severity = {
            self._rule(f"severity.{one}", one): policy.severity[one] for one in policy.severity
        }
        ignore = tuple(
            msgspec.structs.replace(one, rule=self._rule(f"ignore.{number}.rule", one.rule))
            for number, one in enumerate(policy.ignore)
        )
        for number, one in enumerate(policy.ignore):
            if not one.reason.strip():
                raise self._refused(f"ignore.{number}.reason", "it is empty; say why")
        return msgspec.structs.replace(policy, severity=severity, ignore=ignore)

    def _rule(self, key: str, word: str) -> str:
        code = (
            self._rules.get(word) or self._rules.get(word.lower()) or self._rules.get(word.upper())
        )
        if code is None:
            offer = nearest(word, self._rules) or "`envdoctor rules` lists them"
            raise self._refused(key, f"`{word}` is no code or name of a rule; {offer}")
        return code

    def _refuse_bad_ranges(self, policy: Policy) -> None:
        ranges = {f"versions.{key}": text for key, text in _named(policy.versions)}
        ranges["gpus.compute-capability"] = policy.gpus.compute_capability
        for key, text in ranges.items():
            if text is not None:
                self._refuse_bad_range(key, text)
        from packaging.requirements import InvalidRequirement, Requirement

        for kind in ("required", "forbidden"):
            for text in getattr(policy.packages, kind):
                try:
                    requirement = Requirement(text)
                except InvalidRequirement as error:
                    raise self._refused(
                        f"packages.{kind}",
                        f"`{text}` is no requirement; write as for pip: `numpy>=2`",
                    ) from error
                if requirement.marker or requirement.url:
                    raise self._refused(
                        f"packages.{kind}",
                        f"markers and addresses are not judged; write `{requirement.name}` and a "
                        "range of versions",
                    )

    def _refuse_bad_range(self, key: str, text: str) -> None:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            SpecifierSet(text)
        except InvalidSpecifier as error:
            hint = f"`=={text}` or `>={text}`" if re.match(r"\d", text) else "`>=2.6,<2.8`"
            raise self._refused(key, f"`{text}` is no range of versions; write {hint}") from error

    def _refuse_bad_numbers(self, policy: Policy) -> None:
        for table in ("gpus", "machine", "speed"):
            for key, value in _named(getattr(policy, table)):
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if number and not 0 <= value < float("inf"):
                    raise self._refused(f"{table}.{key}", f"{value} is no number of 0 or more")

    def _refused_by_type(self, problem: str, data: Any) -> BadInput:
        """The words of msgspec with the place as TOML has it, and the name that was meant."""
        words, _, place = problem.partition(" - at `$")
        key = re.sub(r"\[(\d+)\]", r".\1", place.rstrip("`")).strip(".").replace("[...]", "")
        unknown = re.fullmatch(r"Object contains unknown field `(.+)`", words)
        if unknown is None:
            return self._refused(_key_of(key, data), words[:1].lower() + words[1:] + _remedy(words))
        name = unknown[1]
        whole = f"{key}.{name}" if key else name
        offer = nearest(name, _known_at(key))
        known = offer or f"known are {', '.join(_known_at(key))}"
        return self._refused(whole, f"there is no such key; {known}")

    def _refused(self, key: str, problem: str) -> BadInput:
        file = PolicyFile(path=self._path, policy=Policy(), lines=self._lines)
        return BadInput(f"`{self._path}`, line {file.line_of(key)}: {key or 'policy'}: {problem}")


def _key_of(key: str, data: Any) -> str:
    """The place; of a severity, which msgspec leaves out."""
    if key != "severity" or not isinstance(data["severity"], dict):
        return key
    bad = (one for one, value in data["severity"].items() if value not in _SEVERITIES)
    return ".".join([key, *bad][:2])


_SEVERITIES = get_args(GivenSeverity)


def _remedy(words: str) -> str:
    """What to write instead, where the words of msgspec do not say it."""
    if words.startswith("Invalid enum value"):
        known = (*get_args(WantedOutcome), *_SEVERITIES)
        return f"; outcomes are {', '.join(known[:-3])}, severities {', '.join(known[-3:])}"
    return "; write it in quotes" if words.startswith("Expected `str") else ""


def _named(record: msgspec.Struct) -> Iterable[tuple[str, Any]]:
    """The fields by their names in the file."""
    for field in msgspec.structs.fields(record):
        yield field.encode_name, getattr(record, field.name)


def _known_at(key: str) -> list[str]:
    """The names that can stand in a table."""
    record: Any = Policy()
    for part in (one for one in key.split(".") if one and not one.isdecimal()):
        if part == "ignore":
            from envdoctor.policy.records import Ignored

            return [field.encode_name for field in msgspec.structs.fields(Ignored)]
        record = getattr(record, part.replace("-", "_"), record)
    return [field.encode_name for field in msgspec.structs.fields(record)]
