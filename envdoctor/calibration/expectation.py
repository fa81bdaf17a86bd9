"""What rate a GPU should reach: published where there is one, else the roofline."""

import msgspec

from envdoctor.calibration.reference import (
    AMP,
    FP32,
    SERIES_OF_PRECISION,
    TF32,
    PublishedRate,
    published_rates,
)
from envdoctor.calibration.results import CalibrationRun, ExpectedRate, Spread
from envdoctor.calibration.roofline import Prediction, Roofline
from envdoctor.knowledge import GpuModel, Knowledge
from envdoctor.record import Record

AS_EXPECTED = "as-expected"
SLOWER = "slower"
FASTER = "faster"
NOT_MEASURED = "not-measured"
UNKNOWN = "unknown"
CHANNELS_LAST = "channels_last"

_SPREAD_QUANTILE = 0.9


class Expectations:
    """Expected rates from one knowledge base."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._roofline = Roofline(knowledge)
        self._rates = {
            (rate.gpu, rate.series, rate.channels_last): rate for rate in published_rates(knowledge)
        }

    def of_model(
        self,
        gpu: GpuModel,
        precision: str,
        *,
        device: str,
        memory_format: str = CHANNELS_LAST,
        measured: float | None = None,
    ) -> ExpectedRate | None:
        """What a GPU model should reach in images/s; None where nothing is known of it.

        `measured` is what was measured there, in images/s.
        """
        channels_last = memory_format == CHANNELS_LAST
        series = SERIES_OF_PRECISION[precision]
        said = self._published(gpu, series, channels_last=channels_last)
        said = said or self._from_roofline(gpu, series, channels_last=channels_last)
        if said is None:
            return None
        return ExpectedRate(
            device=device,
            device_name=gpu.model,
            precision=precision,
            images_per_s=said.rate,
            basis=said.basis,
            measured_over_expected=None if measured is None else measured / said.rate.median,
            verdict=_verdict(measured, said),
        )

    def of_ceilings(
        self, run: CalibrationRun, *, matmul_tflops: float, copy_gb_s: float
    ) -> ExpectedRate | None:
        """What the measured limits of a device let one expect of a run in images/s.

        Measured limits are below those of data sheets, which the roofline was fitted on, so that
        this is on the low side.
        """
        series = SERIES_OF_PRECISION[run.precision]
        channels_last = run.memory_format == CHANNELS_LAST
        prediction = self._roofline.predict_from(
            matmul_tflops, copy_gb_s, series, channels_last=channels_last
        )
        if prediction is None:
            return None
        limits = f"the measured {matmul_tflops:,.1f} TFLOP/s and {copy_gb_s:,.0f} GB/s"
        said = _from_roofline(prediction, limits)
        measured = run.images_per_s.median
        return ExpectedRate(
            device=run.device,
            device_name=run.device_name,
            precision=run.precision,
            images_per_s=said.rate,
            basis=said.basis,
            measured_over_expected=measured / said.rate.median,
            verdict=_verdict(measured, said),
        )

    def _published(self, gpu: GpuModel, series: str, *, channels_last: bool) -> "_Said | None":
        if series == FP32 and gpu.tf32_tensor_tflops is not None:
            return None
        # Only AMP rates of tensor cores are published in both formats; others hold for either.
        wanted = channels_last and series == AMP and gpu.fp16_tensor_tflops is not None
        exact = self._rates.get((gpu.model, series, wanted))
        if exact is not None:
            return _Said(rate=self._around(exact.images_per_s), basis=_published_basis(exact))
        other = self._rates.get((gpu.model, series, False))
        if not wanted or other is None:
            return None
        factor = self._roofline.channels_last_factor()
        basis = f"{_published_basis(other)}, without channels_last; times {factor:.2f} for it"
        return _Said(rate=self._around(other.images_per_s * factor), basis=basis)

    def _from_roofline(self, gpu: GpuModel, series: str, *, channels_last: bool) -> "_Said | None":
        prediction = self._roofline.predict(gpu, series, channels_last=channels_last)
        if prediction is None:
            return None
        said = _from_roofline(prediction, f"the data sheet ({gpu.memory_bandwidth_gb_s:,.0f} GB/s)")
        if series != FP32 or gpu.tf32_tensor_tflops is None:
            return said
        # The published fp32 rates are of GPUs without TF32; with it, fp32 is not the faster one.
        tf32 = self._from_roofline(gpu, TF32, channels_last=False)
        slower = tf32 if tf32 and tf32.rate.median < said.rate.median else said
        basis = f"{slower.basis}; an extrapolation, as no fp32 rate of a GPU with TF32 is published"
        return msgspec.structs.replace(slower, basis=basis, extrapolated=True)

    def _around(self, rate: float) -> Spread:
        spread = self.source_spread
        return Spread(median=rate, low=rate * (1 - spread), high=rate * (1 + spread))

    @property
    def source_spread(self) -> float:
        """By how much sources differ about one GPU, relative to the one that is used: the 90th
        percentile over the GPUs that several sources report."""
        spreads = sorted(
            max(rate.images_per_s - rate.lowest, rate.highest - rate.images_per_s)
            / rate.images_per_s
            for rate in self._rates.values()
            if rate.lowest < rate.highest
        )
        return spreads[min(len(spreads) - 1, int(_SPREAD_QUANTILE * len(spreads)))]


class _Said(Record):
    """A rate in images/s with its range, and where it comes from. An extrapolation leaves the
    kind of GPU that it was fitted on; too little to judge a measurement by."""

    rate: Spread
    basis: str
    extrapolated: bool = False


def _verdict(measured: float | None, said: _Said) -> str:
    if measured is not None and said.extrapolated:
        return UNKNOWN
    return verdict_of(measured, said.rate)


def verdict_of(measured: float | None, expected: Spread) -> str:
    """Where a measured rate lies in the expected range."""
    if measured is None:
        return NOT_MEASURED
    if measured < expected.low:
        return SLOWER
    return FASTER if measured > expected.high else AS_EXPECTED


def _from_roofline(prediction: Prediction, limits: str) -> _Said:
    rate, error = prediction.images_per_s, prediction.error
    basis = (
        f"roofline of {limits}, fitted on the published rates of "
        f" {prediction.points} other GPUs, 90 % of which it meets within "
        f"{100 * error:.0f} %"
    )
    return _Said(
        rate=Spread(median=rate, low=rate * (1 - error), high=rate * (1 + error)), basis=basis
    )


def _published_basis(rate: PublishedRate) -> str:
    return f"published: {rate.images_per_s:,.0f} images/s ({rate.source})"
