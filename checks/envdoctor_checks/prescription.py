"""The builds that would work here, as a fact that fixes can quote."""

from envdoctor.api import (
    Container,
    Distributions,
    Driver,
    DriverRelease,
    Expectation,
    GpuTrace,
    Host,
    Installer,
    Interpreter,
    Knowledge,
    PciGpus,
    Prescription,
    Target,
    TorchBuild,
    derive,
    machine_of,
    prescribe,
)

_KEPT = 3
"""Builds kept in the report; `envdoctor prescribe` lists all."""


@derive(Prescription)
def builds_that_work(
    known: Knowledge,
    host: Host | None,
    interpreter: Interpreter | None,
    target: Target | None,
    driver: Driver | None,
    release: DriverRelease | None,
    trace: GpuTrace | None,
    pci: PciGpus | None,
    container: Container | None,
    installer: Installer | None,
    distributions: Distributions | None,
    build: TorchBuild | None,
    expectation: Expectation | None,
) -> Prescription | None:
    """What would work on this machine; not derived while even its Python is unknown."""
    if interpreter is None:
        return None
    machine = machine_of(
        known,
        host=host,
        interpreter=interpreter,
        target=target,
        driver=driver,
        release=release,
        trace=trace,
        pci=pci,
        container=container,
        installer=installer,
        distributions=distributions,
        build=build,
        expectation=expectation,
    )
    return prescribe(machine, known, limit=_KEPT)
