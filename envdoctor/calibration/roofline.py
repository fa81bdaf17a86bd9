"""A roofline for ResNet-50 training, with an efficiency calibrated on published rates.

Seconds for an image = a / matrix peak + b / memory bandwidth + c / vector peak: convolutions at the
dense peak of the precision (TFLOP/s), traffic to memory (GB/s), and batch norm, activations and the
optimizer at the fp32 peak of the plain cores (TFLOP/s). They do not overlap in a network whose
every second layer is element-wise. Williams et al., "Roofline" (CACM 52, 2009) take the largest;
the sum fits the published rates better. `a`, `b` and `c` are fitted for each precision by least
squares of the relative error; a >= the arithmetic itself, as nothing runs faster than its peak.
What one GPU gives is predicted without the rates of that GPU (leave one out), which is also how the
error is stated.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property

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
_FEWEST = 4
"""Three coefficients need more points than three."""

_ROUNDS = 10_000
_CONVERGED = 1e-12


class Ceilings(Record):
    """What bounds a GPU: dense matrix TFLOP/s of a precision, fp32 TFLOP/s of the plain cores, and
    memory GB/s."""

    matrix_tflops: float
    vector_tflops: float
    bandwidth_gb_s: float

    def exceeds(self, others: Iterable["Ceilings"]) -> bool:
        """Whether one of the three is above that of all others."""
        known = list(others)
        return any(
            getattr(self, name) > max(getattr(one, name) for one in known)
            for name in self.__struct_fields__
        )


class Coefficients(Record):
    """What one image costs, inefficiency included: 10^12 matrix operations, GB of traffic, 10^12
    vector operations."""

    matrix_tflop: float
    traffic_gb: float
    vector_tflop: float

    def images_per_s(self, ceilings: Ceilings) -> float:
        """The rate of a GPU with these ceilings."""
        return 1.0 / (
            self.matrix_tflop / ceilings.matrix_tflops
            + self.traffic_gb / ceilings.bandwidth_gb_s
            + self.vector_tflop / ceilings.vector_tflops
        )


class RooflineRate(Record):
    """A predicted rate in images/s, without channels_last; `error` is the relative error that 90 %
    of the GPUs stay within when they are predicted without their own rates, `points` the GPUs it
    was fitted on. `extrapolated` if one of the ceilings is above all of theirs: what else slows
    such a GPU down, the fit cannot know."""

    images_per_s: float
    error: float
    points: int
    extrapolated: bool


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


class Point(Record):
    """A GPU's published contiguous rate, images/s, with what predicts it."""

    gpu: str
    ceilings: Ceilings
    images_per_s: float


class Roofline:
    """Predicts rates from data sheets, calibrated on the published rates of `knowledge`."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._rates = published_rates(knowledge)
        self._models = {model.model: model for model in knowledge.gpus}
        self._tflop = knowledge.resnet50.train_step_gflop_per_image / 1000

    def predict(self, gpu: GpuModel, series: str) -> RooflineRate | None:
        """The contiguous rate of that GPU, never fitted on that GPU; None where the data sheet has
        gaps."""
        ceilings = data_sheet(gpu, series)
        return None if ceilings is None else self.predict_from(ceilings, series, without=gpu.model)

    def predict_from(
        self, ceilings: Ceilings, series: str, *, without: str = ""
    ) -> RooflineRate | None:
        """The contiguous rate of a GPU with these ceilings, fitted on all GPUs but `without`."""
        points = self._points(series, without)
        if len(points) < _FEWEST:
            return None
        errors = [abs(one.error) for one in self.leave_one_out if one.series == series]
        return RooflineRate(
            images_per_s=fit(points, self._tflop).images_per_s(ceilings),
            error=_quantile(errors, _ERROR_QUANTILE),
            points=len(points),
            extrapolated=ceilings.exceeds(point.ceilings for point in points),
        )

    def channels_last_factor(self, *, without: str = "") -> float:
        """How much faster AMP is with channels_last: the median over the GPUs that have both."""
        # Brings `random` and `fractions`, for which those who measure nothing do not wait.
        from statistics import median

        factors = channels_last_factors(self._rates)
        return median(factor for gpu, factor in factors.items() if gpu != without)

    def channels_last_range(self, gpu: GpuModel | None) -> tuple[float, float]:
        """The least and the largest such factor that is known; for an architecture of which none
        is published the least is 1, no gain at all."""
        factors = channels_last_factors(self._rates)
        known = {self._models[name].architecture for name in factors}
        seen = gpu is not None and gpu.architecture in known
        return min(factors.values()) if seen else 1.0, max(factors.values())

    @cached_property
    def leave_one_out(self) -> tuple[LeaveOneOut, ...]:
        """Every published rate that can be predicted, predicted from those of the other GPUs."""
        return tuple(one for rate in self._rates if (one := self._left_out(rate)) is not None)

    def _left_out(self, rate: PublishedRate) -> LeaveOneOut | None:
        ceilings = data_sheet(self._models[rate.gpu], rate.series)
        points = self._points(rate.series, rate.gpu)
        if ceilings is None or len(points) < _FEWEST:
            return None
        predicted = fit(points, self._tflop).images_per_s(ceilings)
        if rate.channels_last and rate.series == AMP:
            predicted *= self.channels_last_factor(without=rate.gpu)
        return LeaveOneOut(
            gpu=rate.gpu,
            series=rate.series,
            channels_last=rate.channels_last,
            published=rate.images_per_s,
            predicted=predicted,
        )

    def _points(self, series: str, without: str) -> list[Point]:
        return [
            Point(gpu=rate.gpu, ceilings=ceilings, images_per_s=rate.images_per_s)
            for rate in self._rates
            if rate.series == series and not rate.channels_last and rate.gpu != without
            if (ceilings := data_sheet(self._models[rate.gpu], series)) is not None
        ]


def data_sheet(gpu: GpuModel, series: str) -> Ceilings | None:
    """The ceilings that the data sheet of a GPU gives; None where it has gaps."""
    matrix, bandwidth = peak_tflops(gpu, series), gpu.memory_bandwidth_gb_s
    if matrix is None or bandwidth is None or gpu.fp32_tflops is None:
        return None
    return Ceilings(matrix_tflops=matrix, vector_tflops=gpu.fp32_tflops, bandwidth_gb_s=bandwidth)


def fit(points: Sequence[Point], tflop_per_image: float) -> Coefficients:
    """Least squares of the relative error: minimise the sum of ((a x + b y + c z) r - 1)^2.

    x, y and z are the reciprocals of the ceilings, r the published rate; a is at least
    `tflop_per_image`, b and c are not negative. The function is convex, so that improving one
    coefficient after the other within its bound (projected Gauss-Seidel) ends at its minimum.
    Raises ZeroDivisionError if there are no points.
    """
    rows = [
        tuple(
            point.images_per_s / ceiling
            for ceiling in (
                point.ceilings.matrix_tflops,
                point.ceilings.bandwidth_gb_s,
                point.ceilings.vector_tflops,
            )
        )
        for point in points
    ]
    products = [[sum(row[i] * row[j] for row in rows) for j in range(3)] for i in range(3)]
    sums = [sum(row[i] for row in rows) for i in range(3)]
    lowest = (tflop_per_image, 0.0, 0.0)
    best = list(lowest)
    for _ in range(_ROUNDS):
        before = tuple(best)
        for i in range(3):
            others = sum(products[i][j] * best[j] for j in range(3) if j != i)
            best[i] = max(lowest[i], (sums[i] - others) / products[i][i])
        if all(abs(new - old) <= _CONVERGED for new, old in zip(best, before, strict=True)):
            break
    return Coefficients(matrix_tflop=best[0], traffic_gb=best[1], vector_tflop=best[2])


def _quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
