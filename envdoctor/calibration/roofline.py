"""A roofline for ResNet-50 training, with an efficiency calibrated on published rates.

Seconds for an image = a / peak + b / bandwidth: arithmetic at the dense peak (TFLOP/s) and traffic
to memory (GB/s), which do not overlap in a network whose every second layer is element-wise.
Williams et al., "Roofline" (CACM 52, 2009) take the larger of the two; the sum fits the published
rates better. `a` and `b` are fitted for each precision by least squares of the relative error, with
a >= the arithmetic itself, as nothing runs faster than its peak. What one GPU gives is predicted
without the rates of that GPU (leave one out), which is also how the error is stated.
"""

from collections.abc import Iterable, Sequence
from statistics import median

from envdoctor.calibration.reference import (
    AMP,
    PublishedRate,
    channels_last_factors,
    peak_tflops,
    published_rates,
)
from envdoctor.knowledge import GpuModel, Knowledge
from envdoctor.record import Record

_ERROR_QUANTILE = 0.9
_FEWEST = 3
"""Two coefficients need more points than two."""


class Coefficients(Record):
    """`arithmetic_tflop` and `traffic_gb` that one image costs, inefficiency included."""

    arithmetic_tflop: float
    traffic_gb: float

    def images_per_s(self, peak_tflops: float, bandwidth_gb_s: float) -> float:
        """The rate of a GPU with that dense peak and that memory bandwidth."""
        return 1.0 / (self.arithmetic_tflop / peak_tflops + self.traffic_gb / bandwidth_gb_s)


class Prediction(Record):
    """A predicted rate in images/s; `error` is the relative error that 90 % of the GPUs stay
    within when they are predicted without their own rates, `points` the GPUs it was fitted on."""

    images_per_s: float
    error: float
    points: int


class LeaveOneOut(Record):
    """A published rate, and what the others predict for it."""

    gpu: str
    series: str
    channels_last: bool
    published: float
    predicted: float

    @property
    def error(self) -> float:
        """Predicted over published, less one."""
        return self.predicted / self.published - 1.0


class _Point(Record):
    """A GPU's published contiguous rate with what predicts it."""

    gpu: str
    peak_tflops: float
    bandwidth_gb_s: float
    images_per_s: float


class Roofline:
    """Predicts rates from data sheets, calibrated on the published rates of `knowledge`."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._rates = published_rates(knowledge)
        self._models = {model.model: model for model in knowledge.gpus}
        self._tflop = knowledge.resnet50.train_step_gflop_per_image / 1000

    def predict(self, gpu: GpuModel, series: str, *, channels_last: bool) -> Prediction | None:
        """The rate of that GPU, never fitted on that GPU; None where the data sheet has gaps."""
        peak = peak_tflops(gpu, series)
        if peak is None or gpu.memory_bandwidth_gb_s is None:
            return None
        return self.predict_from(
            peak, gpu.memory_bandwidth_gb_s, series, channels_last=channels_last, without=gpu.model
        )

    def predict_from(
        self,
        peak_tflops: float,
        bandwidth_gb_s: float,
        series: str,
        *,
        channels_last: bool,
        without: str = "",
    ) -> Prediction | None:
        """The rate of a GPU with these figures, fitted on all GPUs but `without`."""
        points = [point for point in self._points(series) if point.gpu != without]
        if len(points) < _FEWEST:
            return None
        rate = fit(points, self._tflop).images_per_s(peak_tflops, bandwidth_gb_s)
        if channels_last and series == AMP:
            rate *= self.channels_last_factor(without=without)
        errors = [abs(one.error) for one in self.leave_one_out() if one.series == series]
        return Prediction(
            images_per_s=rate, error=_quantile(errors, _ERROR_QUANTILE), points=len(points)
        )

    def channels_last_factor(self, *, without: str = "") -> float:
        """How much faster AMP is with channels_last: the median over the GPUs that have both."""
        factors = channels_last_factors(self._rates)
        return median(factor for gpu, factor in factors.items() if gpu != without)

    def leave_one_out(self) -> tuple[LeaveOneOut, ...]:
        """Every published rate that can be predicted, predicted from those of the other GPUs."""
        return tuple(one for rate in self._rates if (one := self._left_out(rate)) is not None)

    def _left_out(self, rate: PublishedRate) -> LeaveOneOut | None:
        model = self._models[rate.gpu]
        peak = peak_tflops(model, rate.series)
        points = [point for point in self._points(rate.series) if point.gpu != rate.gpu]
        if peak is None or model.memory_bandwidth_gb_s is None or len(points) < _FEWEST:
            return None
        predicted = fit(points, self._tflop).images_per_s(peak, model.memory_bandwidth_gb_s)
        if rate.channels_last:
            predicted *= self.channels_last_factor(without=rate.gpu)
        return LeaveOneOut(
            gpu=rate.gpu,
            series=rate.series,
            channels_last=rate.channels_last,
            published=rate.images_per_s,
            predicted=predicted,
        )

    def _points(self, series: str) -> list[_Point]:
        points = []
        for rate in self._rates:
            model = self._models[rate.gpu]
            peak = peak_tflops(model, series)
            if rate.series != series or rate.channels_last or peak is None:
                continue
            if model.memory_bandwidth_gb_s is None:
                continue
            points.append(
                _Point(
                    gpu=rate.gpu,
                    peak_tflops=peak,
                    bandwidth_gb_s=model.memory_bandwidth_gb_s,
                    images_per_s=rate.images_per_s,
                )
            )
        return points


def fit(points: Sequence[_Point], tflop_per_image: float) -> Coefficients:
    """Least squares of the relative error: minimise the sum of ((a x + b y) r - 1)^2.

    x = 1 / peak, y = 1 / bandwidth, r the published rate; a is at least `tflop_per_image`, b is
    not negative. Raises ZeroDivisionError if there are no points.
    """
    rows = [
        (one.images_per_s / one.peak_tflops, one.images_per_s / one.bandwidth_gb_s)
        for one in points
    ]
    xx, yy = sum(x * x for x, _ in rows), sum(y * y for _, y in rows)
    xy = sum(x * y for x, y in rows)
    x1, y1 = sum(x for x, _ in rows), sum(y for _, y in rows)
    determinant = xx * yy - xy * xy
    a = (x1 * yy - y1 * xy) / determinant if determinant else 0.0
    a = max(a, tflop_per_image)
    b = (y1 - a * xy) / yy
    if b < 0:
        a, b = max(x1 / xx, tflop_per_image), 0.0
    return Coefficients(arithmetic_tflop=a, traffic_gb=b)


def _quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
