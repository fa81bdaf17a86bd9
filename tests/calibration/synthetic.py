"""Calibrations made by hand: marked synthetic, complete, and healthy until something is changed."""

from typing import Any

from envdoctor.facts.calibration import (
    Calibration,
    CalibrationRun,
    Conditions,
    DecodeRate,
    InputPipeline,
    Settings,
    Spread,
    Telemetry,
)

A100 = "NVIDIA A100-SXM4-80GB"


def spread(rate: float, noise: float = 0.02) -> Spread:
    return Spread(median=rate, low=rate * (1 - noise), high=rate * (1 + noise))


def make_run(
    rate: float, *, device: str = "cuda:0", precision: str = "bf16", **fields: Any
) -> CalibrationRun:
    batch = fields.pop("batch_size", 256 if device != "cpu" else 4)
    values: dict[str, Any] = {
        "device": device,
        "device_name": A100 if device != "cpu" else "synthetic CPU",
        "precision": precision,
        "memory_format": "channels_last",
        "compiled": False,
        "batch_size": batch,
        "steps": 40,
        "images_per_s": spread(rate),
        "ms_per_step": 1000 * batch / rate,
        "peak_memory_bytes": 20_000_000_000,
        "tflops": rate * 0.024534,
        "stable": True,
        "note": "synthetic",
    }
    return CalibrationRun(**{**values, **fields})


def make_calibration(*runs: CalibrationRun, **fields: Any) -> Calibration:
    values: dict[str, Any] = {
        "runs": runs,
        "settings": Settings(),
        "conditions": Conditions(started_at="2026-11-01T00:00:00+00:00", torch_version="2.13.0"),
        "complete": True,
    }
    return Calibration(**{**values, **fields})


def make_pipeline(rate: float, workers: int = 4) -> InputPipeline:
    rates = (DecodeRate(workers=workers, images_per_s=spread(rate)),)
    return InputPipeline(decoder="pillow", rates=rates, image_source="synthetic")


def make_telemetry(**fields: Any) -> Telemetry:
    values: dict[str, Any] = {
        "samples": 40,
        "sm_clock_mhz": spread(1400),
        "max_sm_clock_mhz": 1410,
        "power_w": spread(390),
        "power_limit_w": 400.0,
        "power_default_limit_w": 400.0,
        "temperature_c": 61,
        "throttle_shares": {"SwPowerCap": 1.0},
        "pcie_generation": 4,
        "pcie_max_generation": 4,
        "pcie_width": 16,
        "pcie_max_width": 16,
    }
    return Telemetry(**{**values, **fields})


def make_token_run(rate: float, **fields: Any) -> CalibrationRun:
    """A run of GPT-2 at so many tokens/s."""
    values: dict[str, Any] = {
        "model": "gpt2",
        "memory_format": None,
        "sequence_length": 1024,
        "images_per_s": None,
        "tokens_per_s": spread(rate),
        "batch_size": 32,
    }
    return make_run(rate, **{**values, **fields})
