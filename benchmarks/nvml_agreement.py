"""Does the doctor say of each GPU what `nvidia-smi -q -x` says, field by field?

    nvidia-smi -q -x > XML; envdoctor check --json > REPORT
    python benchmarks/nvml_agreement.py REPORT XML

REPORT may be a facts file as well. What changes from moment to moment (memory in use, power,
clocks) is `~` where it differs; every other difference, and a GPU that only one of the two lists,
is `OFF` and gives exit 1. Exit 2: there is nothing to compare.

The schemas of nvidia-smi are those of drivers 515 (nvsmi_device_v11) to 590 (v13).
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

MIB = 2**20

Element = ElementTree.Element


def number(text: str) -> float:
    """`500.00 W`, `16x`, `27 C` without the unit."""
    return float(re.match(r"-?[\d.]+", text)[0])  # type: ignore[index]


def mebibytes(text: str) -> int:
    return int(number(text)) * MIB


def whole(text: str) -> int:
    return int(number(text))


def enabled(text: str) -> bool:
    return {"Enabled": True, "Disabled": False}[text]


def yes(text: str) -> bool:
    return {"Yes": True, "No": False}[text]


def lower(text: str) -> str:
    return text.lower().replace("_", "-")


VIRTUALIZATIONS = {
    "None": "none",
    "Pass-Through": "passthrough",
    "VGPU": "vgpu",
    "Host VGPU": "host-vgpu",
    "Host VSGA": "host-vsga",
}
FABRIC_STATES = {
    "Not Started": "not-started",
    "In Progress": "in-progress",
    "Completed": "completed",
}

FIELDS: dict[str, tuple[tuple[str, ...], Callable[[str], Any]]] = {
    "name": (("product_name",), str),
    "uuid": (("uuid",), str),
    "pci_address": (("pci/pci_bus_id",), str),
    "memory_bytes": (("fb_memory_usage/total",), mebibytes),
    "memory_used_bytes": (("fb_memory_usage/used",), mebibytes),
    "bar1_bytes": (("bar1_memory_usage/total",), mebibytes),
    "mig_mode": (("mig_mode/current_mig",), enabled),
    "mig_pending": (("mig_mode/pending_mig",), enabled),
    "ecc_mode": (("ecc_mode/current_ecc",), enabled),
    "compute_mode": (("compute_mode",), lower),
    "persistence_mode": (("persistence_mode",), enabled),
    "virtualization": (
        ("gpu_virtualization_mode/virtualization_mode",),
        VIRTUALIZATIONS.__getitem__,
    ),
    "pages_pending": (("retired_pages/pending_retirement",), yes),
    "rows_pending": (("remapped_rows/remapped_row_pending",), yes),
    "rows_failed": (("remapped_rows/remapped_row_failure",), yes),
    "fabric_state": (("fabric/state",), FABRIC_STATES.__getitem__),
    "power_w": (
        (
            "gpu_power_readings/average_power_draw",
            "gpu_power_readings/power_draw",
            "power_readings/power_draw",
        ),
        number,
    ),
    "power_limit_w": (
        ("gpu_power_readings/current_power_limit", "power_readings/enforced_power_limit"),
        number,
    ),
    "power_default_limit_w": (
        ("gpu_power_readings/default_power_limit", "power_readings/default_power_limit"),
        number,
    ),
    "temperature_c": (("temperature/gpu_temp",), whole),
    "sm_clock_mhz": (("clocks/sm_clock",), whole),
    "max_sm_clock_mhz": (("max_clocks/sm_clock",), whole),
    "pcie_generation": (("pci/pci_gpu_link_info/pcie_gen/current_link_gen",), whole),
    "pcie_max_generation": (("pci/pci_gpu_link_info/pcie_gen/max_link_gen",), whole),
    "pcie_width": (("pci/pci_gpu_link_info/link_widths/current_link_width",), whole),
    "pcie_max_width": (("pci/pci_gpu_link_info/link_widths/max_link_width",), whole),
    "utilization_pct": (("utilization/gpu_util",), whole),
}
"""A field of facts.machine.Gpu, where nvidia-smi has it (the first that is there), and how its text
is read. Not compared: `index` (the order of the file), `compute_capability` and `refused`
(nvidia-smi -q has none), `throttle_reasons`, `process_pids`, `ecc_uncorrected`, `licensed` and
`fabric_error` (their texts are of another shape in each schema), `peers` and `nvlink_peers` (of
`nvidia-smi topo`)."""

MOVING = {
    "memory_used_bytes",
    "power_w",
    "temperature_c",
    "sm_clock_mhz",
    "pcie_generation",
    "utilization_pct",
}
NOTHING = ("N/A", "[N/A]", "Requested functionality has been deprecated", "")

WITHIN = {"power_w": 0.006, "power_limit_w": 0.006, "power_default_limit_w": 0.006}
"""nvidia-smi prints hundredths of a watt, and whole MiB, cut or rounded."""


def main(arguments: list[str]) -> int:
    lines = list(compared(gpus_of(Path(arguments[0])), ElementTree.parse(arguments[1]).getroot()))
    for state, line in lines:
        print(f"{state:<3}", line)
    if not lines:
        print("neither lists a GPU")
        return 2
    return 1 if any(state == "OFF" for state, _ in lines) else 0


def gpus_of(path: Path) -> list[dict[str, Any]]:
    """The GPUs of a report or a facts file."""
    fact = json.loads(path.read_text(encoding="utf-8"))["facts"].get("Gpus", {})
    devices: list[dict[str, Any]] = (fact.get("value") or {}).get("devices", [])
    return devices


def compared(ours: list[dict[str, Any]], theirs: Element) -> Iterator[tuple[str, str]]:
    """`ok`, `~` or `OFF`, and what is compared. GPUs are matched by their order, NVML's."""
    elements = theirs.findall("gpu")
    if len(ours) != len(elements):
        yield "OFF", f"{len(ours)} GPUs here, {len(elements)} in nvidia-smi"
    for gpu, element in zip(ours, elements, strict=False):
        for field in FIELDS:
            said, shown = gpu.get(field), text_of(element, field)
            state = "ok" if agrees(field, said, shown) else "~" if field in MOVING else "OFF"
            yield state, f"GPU {gpu['index']} {field}: {said} | {shown}"


def text_of(element: Element, field: str) -> str | None:
    """What nvidia-smi shows of a field; None where it shows nothing."""
    for place in FIELDS[field][0]:
        text = (element.findtext(place) or "").strip()
        if text not in NOTHING:
            return text
    return None


def agrees(field: str, said: Any, shown: str | None) -> bool:
    """Whether both say the same; what one has and the other lacks is a difference."""
    if said is None or shown is None:
        return said is None and shown is None
    value = FIELDS[field][1](shown)
    if field.endswith("_bytes"):
        return abs(int(said) - int(value)) < MIB
    within = WITHIN.get(field)
    return said == value if within is None else bool(abs(said - value) < within)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
