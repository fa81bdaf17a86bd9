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
from envdoctor.calibration.roofline import Ceilings, Roofline, RooflineRate
from envdoctor.facts.assessment import ExpectedRate, RateVerdict
from envdoctor.facts.calibration import CalibrationRun, MemoryFormat, Precision, Spread
from envdoctor.knowledge import GpuModel, Knowledge, LaptopGpu
from envdoctor.record import Record

CHANNELS_LAST: MemoryFormat = "channels_last"
CONTIGUOUS: MemoryFormat = "contiguous"

SMALLEST_BATCH = 64
"""Published rates are of full batches; a smaller one than this leaves a GPU idle for other
reasons than a disease."""

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
        precision: Precision,
        *,
        device: str,
        memory_format: MemoryFormat = CHANNELS_LAST,
        measured: CalibrationRun | None = None,
        power_limit_w: float | None = None,
    ) -> ExpectedRate | None:
        """What a GPU model should reach in images/s; None where nothing is known of it.

        `measured` is the run that is held against it, if there is one. The power limit counts for
        GPUs of laptops, whose clock follows from it; where it is not known, the range holds all
        that their makers may choose.
        """
        laptop = self._knowledge.laptop(gpu.model)
        channels_last = memory_format == CHANNELS_LAST
        series = SERIES_OF_PRECISION[precision]
        known = self._published(gpu, series, channels_last=channels_last)
        if known is None and laptop is not None:
            known = self._of_laptop(gpu, laptop, series, power_limit_w)
        elif known is None:
            known = self._from_data_sheet(gpu, series, channels_last=channels_last)
        if known is None:
            return None
        return _expected(known, device, gpu.model, precision, memory_format, measured)

    def of_ceilings(
        self, run: CalibrationRun, ceilings: Ceilings, *, comparable: bool
    ) -> ExpectedRate | None:
        """What the measured ceilings of a device let one expect of a run in images/s.

        Measured ceilings are below those of data sheets, which the roofline was fitted on, so that
        this is on the low side. Where the device is not `comparable` to those of the fit (another
        vendor's, say) it is shown, and nothing is judged by it.
        """
        series = SERIES_OF_PRECISION[run.precision]
        prediction = self._roofline.predict_from(ceilings, series)
        if prediction is None:
            return None
        limits = (
            f"the measured {ceilings.matrix_tflops:,.1f} TFLOP/s and "
            f"{ceilings.bandwidth_gb_s:,.0f} GB/s"
        )
        memory_format = run.memory_format or CHANNELS_LAST
        channels_last = memory_format == CHANNELS_LAST
        known = self._from_roofline(prediction, limits, series, None, channels_last=channels_last)
        if not comparable:
            known = known.doubted("fitted on other kinds of GPU, so no yardstick")
        return _expected(
            known,
            run.device,
            run.device_name,
            run.precision,
            run.memory_format or CHANNELS_LAST,
            run,
        )

    def _published(self, gpu: GpuModel, series: str, *, channels_last: bool) -> "_KnownRate | None":
        if series == FP32 and gpu.tf32_tensor_tflops is not None:
            return None
        # Only AMP rates of tensor cores are published in both formats; others hold for either.
        wanted = channels_last and series == AMP and gpu.fp16_tensor_tflops is not None
        spread = self.source_spread
        exact = self._rates.get((gpu.model, series, wanted))
        if exact is not None:
            return _KnownRate(
                rate=_around(exact.images_per_s, spread), basis=_published_basis(exact)
            )
        other = self._rates.get((gpu.model, series, False))
        if not wanted or other is None:
            return None
        known = _KnownRate(rate=_around(other.images_per_s, spread), basis=_published_basis(other))
        return self._with_channels_last(known, gpu)

    def _of_laptop(
        self, gpu: GpuModel, laptop: LaptopGpu, series: str, limit_w: float | None
    ) -> "_KnownRate | None":
        least, most = laptop.power_w
        limits = (least, most) if limit_w is None else (limit_w, limit_w)
        sheets = [
            msgspec.structs.replace(gpu, fp32_tflops=laptop.fp32_tflops(one)) for one in limits
        ]
        low, high = (self._from_data_sheet(one, series, channels_last=False) for one in sheets)
        if low is None or high is None:
            return None
        chosen = f"its maker chooses {least:g} to {most:g} W"
        if limit_w is not None:
            clock = laptop.clock_mhz(limit_w)
            chosen = f"at {limit_w:g} W, of {least:g} to {most:g}, its clock is {clock:,.0f} MHz"
        rate = Spread(
            median=(low.rate.median + high.rate.median) / 2, low=low.rate.low, high=high.rate.high
        )
        return msgspec.structs.replace(high, rate=rate, basis=f"{high.basis}; {chosen}")

    def _with_channels_last(self, known: "_KnownRate", gpu: GpuModel | None) -> "_KnownRate":
        """What a contiguous rate becomes; the range takes in that the factor is not known well."""
        factor = self._roofline.channels_last_factor()
        least, most = self._roofline.channels_last_range(gpu)
        rate = known.rate
        return _KnownRate(
            rate=Spread(median=rate.median * factor, low=rate.low * least, high=rate.high * most),
            basis=f"{known.basis}, x{factor:.2f} for channels_last ({least:.2f} to {most:.2f})",
            doubtful=known.doubtful,
            factor=factor,
        )

    def _from_data_sheet(
        self, gpu: GpuModel, series: str, *, channels_last: bool
    ) -> "_KnownRate | None":
        prediction = self._roofline.predict(gpu, series)
        if prediction is None:
            return None
        limits = f"the data sheet ({gpu.memory_bandwidth_gb_s:,.0f} GB/s)"
        known = self._from_roofline(prediction, limits, series, gpu, channels_last=channels_last)
        if series != FP32 or gpu.tf32_tensor_tflops is None:
            return known
        # The published fp32 rates are of GPUs without TF32; with it, fp32 is not the faster one.
        tf32 = self._published(gpu, TF32, channels_last=False)
        tf32 = tf32 or self._from_data_sheet(gpu, TF32, channels_last=False)
        slower = tf32 if tf32 and tf32.rate.median < known.rate.median else known
        return slower.doubted("an extrapolation, as no fp32 rate of a GPU with TF32 is published")

    def _from_roofline(
        self,
        prediction: RooflineRate,
        limits: str,
        series: str,
        gpu: GpuModel | None,
        *,
        channels_last: bool,
    ) -> "_KnownRate":
        error = prediction.error
        known = _KnownRate(
            rate=_around(prediction.images_per_s, error),
            basis=f"roofline of {limits}, within {100 * error:.0f} % for 90 % of "
            f"{prediction.points} GPUs with published rates",
        )
        if prediction.extrapolated:
            known = known.doubted("an extrapolation, as this GPU exceeds all of those")
        return self._with_channels_last(known, gpu) if channels_last and series == AMP else known

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


class _KnownRate(Record):
    """A rate in images/s with its range, and where it comes from. A doubtful one leaves the kind
    of GPU that it was fitted on: shown, but too little to judge a measurement by. `factor` is what
    a contiguous rate was multiplied by for channels_last."""

    rate: Spread
    basis: str
    doubtful: bool = False
    factor: float | None = None

    def doubted(self, why: str) -> "_KnownRate":
        return msgspec.structs.replace(self, basis=f"{self.basis}; {why}", doubtful=True)


def _expected(
    known: _KnownRate,
    device: str,
    device_name: str,
    precision: Precision,
    memory_format: MemoryFormat,
    run: CalibrationRun | None,
) -> ExpectedRate:
    small = run is not None and run.batch_size < SMALLEST_BATCH
    if run is not None and small:
        known = known.doubted(f"a batch of {run.batch_size} is too small to be held against it")
    if run is not None and run.cudnn_search is False and verdict_of(run, known.rate) == "slower":
        known = known.doubted("cuDNN had no time to search for its fastest kernels")
    return ExpectedRate(
        device=device,
        device_name=device_name,
        precision=precision,
        memory_format=memory_format,
        factor=known.factor,
        images_per_s=known.rate,
        basis=known.basis,
        measured_over_expected=None if run is None else run.rate.median / known.rate.median,
        verdict="unknown" if run and known.doubtful else verdict_of(run, known.rate),
    )


def verdict_of(run: CalibrationRun | None, expected: Spread) -> RateVerdict:
    """Whether the interval of a run lies below the expected range, above it, or meets it."""
    if run is None:
        return "not-measured"
    if run.rate.high < expected.low:
        return "slower"
    return "faster" if run.rate.low > expected.high else "as-expected"


def _around(rate: float, error: float) -> Spread:
    return Spread(median=rate, low=rate * (1 - error), high=rate * (1 + error))


def _published_basis(rate: PublishedRate) -> str:
    return f"published: {rate.images_per_s:,.0f} images/s ({rate.source})"
