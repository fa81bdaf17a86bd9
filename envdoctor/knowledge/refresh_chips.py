"""Writes the PCI device ids of NVIDIA's GPUs into the knowledge anew, from a pci.ids file.

    python -m envdoctor.knowledge.refresh_chips /usr/share/misc/pci.ids --retrieved 2026-11-26

The file comes with the Debian package `pci.ids`; the newest is in unstable. Only `devices` of
pci_chips.json is replaced. Which compute capability a chip has is kept by hand in `families`; chips
that are in none are named at the end, to be looked up and added with a source.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from envdoctor.knowledge import load
from envdoctor.knowledge.chips import ChipDevices, ChipRange, ChipsFile
from envdoctor.record import Record

_VENDOR = "10de"
_LINE = re.compile(r"(?P<tab>\t?)(?P<id>[0-9a-f]{4})  (?P<name>.+)")
_VERSION = re.compile(r"#\s+Version:\s+(\S+)")
_CHIP = re.compile(
    r"(?P<chip>NV[0-9A-F]{1,2}|G[789]\d|GT2\d\d|GK11x|G[AB][12]0B|G[ABFHKMPRV]\d{3}|TU\d{3}|AD\d{3}"
    r"|C[567]\d|MCP79|MCP7A|MCP89)[A-Za-z]*\b(?P<rest>.*)"
)
"""A code name and the letters of its variant: GK208BM is a GK208. The C and MCP ones are chipsets,
of which some hold a GPU."""
_SOLD_AS = re.compile(r"\[(.+)\]")
_NO_GPU = re.compile(
    r"audio|usb|smbus|ethernet|\bide\b|sata|ahci|raid|bridge|host|memory|controller|co-processor",
    re.IGNORECASE,
)


def devices_of(text: str, retrieved: str) -> ChipDevices:
    """The GPUs in a pci.ids file."""
    listed = dict(_of_vendor(text))
    gpus = {number: match for number, name in listed.items() if (match := _gpu(name))}
    chips = {number: match["chip"] for number, match in gpus.items()}
    sold = {number: _SOLD_AS.search(match["rest"]) for number, match in gpus.items()}
    return ChipDevices(
        ranges=tuple(_ranges(chips, frozenset(listed) - frozenset(gpus))),
        names={f"{number:04x}": match[1] for number, match in sorted(sold.items()) if match},
        source=f"pci.ids {_version(text)} (the PCI ID project, pci-ids.ucw.cz; Debian package "
        "pci.ids)",
        retrieved=retrieved,
    )


def _of_vendor(text: str) -> Iterator[tuple[int, str]]:
    """Device ids and descriptions of NVIDIA. Subsystems (two tabs) do not match."""
    inside = False
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        if not match["tab"]:
            inside = match["id"] == _VENDOR
        elif inside:
            yield int(match["id"], 16), match["name"].strip()


def _gpu(name: str) -> re.Match[str] | None:
    match = _CHIP.match(name)
    if match is None or _NO_GPU.search(_SOLD_AS.sub("", match["rest"])):
        return None
    return match


def _ranges(chips: Mapping[int, str], others: frozenset[int]) -> Iterator[ChipRange]:
    """Runs of one chip that no other device of NVIDIA interrupts."""
    run: list[int] = []
    for number in sorted({*chips, *others}):
        if run and chips.get(number) != chips[run[0]]:
            yield _range(run, chips)
            run = []
        if number in chips:
            run.append(number)
    if run:
        yield _range(run, chips)


def _range(run: Sequence[int], chips: Mapping[int, str]) -> ChipRange:
    return ChipRange(first=f"{run[0]:04x}", last=f"{run[-1]:04x}", chip=chips[run[0]])


def _version(text: str) -> str:
    match = _VERSION.search(text)
    if match is None:
        raise ValueError("no line `# Version:`, so this is no pci.ids file")
    return match[1]


def written(file: ChipsFile) -> str:
    """The file as it is kept: one family, one range and one name a line."""
    devices = file.devices
    families = ",\n".join(_line(one) for one in file.families)
    ranges = ",\n".join(_line(one) for one in devices.ranges)
    names = ",\n".join(f"{_json(number)}:{_json(name)}" for number, name in devices.names.items())
    return f"""{{
"as_of": {_json(file.as_of)},
"families": [
{families}
],
"devices": {{
"source": {_json(devices.source)},
"retrieved": {_json(devices.retrieved)},
"ranges": [
{ranges}
],
"names": {{
{names}
}}
}}
}}
"""


def _line(record: Record) -> str:
    return _json(msgspec.structs.asdict(record))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; name the chips that no family has. 2 where the input is no pci.ids."""
    parser = argparse.ArgumentParser(prog="python -m envdoctor.knowledge.refresh_chips")
    parser.add_argument("pci_ids", type=Path, help="a pci.ids file")
    parser.add_argument("--retrieved", required=True, help="the day on which it was fetched")
    options = parser.parse_args(arguments)
    knowledge = load()
    before = knowledge.chips_file
    try:
        devices = devices_of(options.pci_ids.read_text(encoding="utf-8"), options.retrieved)
    except (OSError, ValueError) as error:
        print(f"refresh_chips: {error}", file=sys.stderr)
        return 2
    after = ChipsFile(as_of=before.as_of, families=before.families, devices=devices)
    (knowledge.folder / "pci_chips.json").write_text(written(after), encoding="utf-8")
    known = {chip for family in after.families for chip in family.chips}
    rest = sorted({one.chip for one in devices.ranges} - known)
    print(f"{len(devices.ranges)} ranges, {len(devices.names)} names; in no family: {rest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
