"""What plugins bring is run for a while, and judged before it is used."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.api import (
    Check,
    Code,
    DriverRelease,
    Fact,
    Host,
    Layer,
    Observed,
    Plugin,
    Probe,
    Severity,
    Snapshot,
    Where,
    check,
    derive,
)
from envdoctor.engine import derive_facts, run_checks
from envdoctor.plugin_loading import load_plugins
from envdoctor.plugin_loading.validation import why_unusable
from envdoctor.plugins.bounded import Failed, run_bounded, run_in_turn

ODD = Code(id="XX001", name="odd", family="odd", severity=Severity.INFO, message="it is odd")


class Own(Fact):
    """A fact of a plugin."""

    number: int


class Weather(Fact):
    """A fact that is there."""


HERE = Snapshot({Weather: Observed(value=Weather(), source="test")})


class Odd(BaseException):
    """An exception that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


def raising(error: BaseException) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


def endless() -> None:
    while True:
        time.sleep(0.01)


ERRORS = [
    ValueError("no"),
    SystemExit(0),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseException("no"),
    Odd(),
    RecursionError("deep"),
    MemoryError(),
    StopIteration(3),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda one: type(one).__name__)
def test_whatever_is_raised_is_a_result(error: BaseException) -> None:
    first, second, third = run_in_turn([lambda: 1, raising(error), lambda: 3])
    assert isinstance(second, Failed)
    assert second.error.startswith(type(error).__name__)
    assert (first, third) == (1, 3)


def test_one_that_does_not_end_costs_its_time_and_leaves_the_others() -> None:
    began = time.monotonic()
    results = run_in_turn([lambda: 1, endless, lambda: 3, endless, lambda: 5], 0.2)
    assert 0.4 <= time.monotonic() - began < 5
    assert [one.error if isinstance(one, Failed) else one for one in results] == [
        1,
        "no answer within 0.2 s",
        3,
        "no answer within 0.2 s",
        5,
    ]


def test_one_that_is_given_up_goes_on_with_nothing() -> None:
    let_go, ran = threading.Event(), []
    first, second = run_in_turn([let_go.wait, lambda: ran.append(threading.get_ident())], 0.1)
    let_go.set()
    time.sleep(0.2)
    assert isinstance(first, Failed)
    assert (second, len(ran)) == (None, 1)


def test_each_has_its_own_time() -> None:
    assert run_in_turn([lambda: time.sleep(0.3)] * 4, 0.8) == (None,) * 4


def made(body: Callable[[], Any]) -> Check:
    @check(ODD)
    def odd(weather: Weather) -> Any:
        return body()

    return odd


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


BAD_FINDINGS: dict[str, Callable[[], Any]] = {
    "'int' object is not iterable": lambda: 3,
    "'NoneType' object is not iterable": lambda: None,
    "it gives a str, not a Finding": lambda: ["a finding"],
    "objects of type object": lambda: [ODD.finding(x=object())],
    "nan is no number": lambda: [ODD.finding(x=float("nan"))],
    "more than 64 bits": lambda: [ODD.finding(x=[2**99])],
    "2000000 characters": lambda: [ODD.finding(x="x" * 2_000_000)],
    "more than 200000 values": lambda: [ODD.finding(x=[0] * 300_000)],
    "recursion": lambda: [ODD.finding(x=circle())],
    "`subjects": lambda: [replace(ODD.finding(), subjects=(3,))],
    "`$.severity`": lambda: [replace(ODD.finding(), severity="worst")],
    "`$.message`": lambda: [replace(ODD.finding(), message=None)],
    "`ED201`, which is none of its codes": lambda: [replace(ODD.finding(), code="ED201")],
    "more than 1000 findings": lambda: iter(ODD.finding, None),
}


@pytest.mark.parametrize("words", BAD_FINDINGS)
def test_findings_that_no_report_could_hold(words: str) -> None:
    good = made(lambda: [ODD.finding()])
    bad, ran = run_checks([made(BAD_FINDINGS[words]), good], HERE, {})
    assert (bad.status, ran.status) == ("crashed", "ran")
    assert words.strip("`") in bad.reason


def test_a_check_that_does_not_end_is_a_finding() -> None:
    bad, ran = run_checks([made(endless), made(lambda: [ODD.finding()])], HERE, {}, limit_s=0.2)
    assert (bad.status, ran.status) == ("crashed", "ran")
    assert bad.reason == "no answer within 0.2 s"


@pytest.mark.parametrize(
    "body", [endless, raising(Odd()), lambda: 3, lambda: Own(number="x"), Weather]
)
def test_a_derivation_that_fails_is_an_unknown(body: Callable[[], Any]) -> None:
    @derive(Own)
    def own(weather: Weather) -> Own | None:
        return body()  # type: ignore[no-any-return]

    fact = derive_facts([own], HERE, {}, limit_s=0.2).get(Own)
    assert not isinstance(fact, Observed)
    assert fact.detail.startswith("own: ")


def nothing() -> dict[type[Fact], Any]:
    return {}


def odd_of(**parts: Any) -> Plugin:
    return Plugin(**{"name": "odd", "version": "1", **parts})


def probing(**parts: Any) -> Plugin:
    whole = {"name": "p", "where": Where.HOST, "provides": (Own,), "observe": nothing, **parts}
    return odd_of(probes=(Probe(**whole),))


def coding(**parts: Any) -> Plugin:
    code = replace(ODD, **parts)

    @check(code)
    def odd(host: Host) -> Any:
        yield code.finding()

    return odd_of(checks=(odd,))


def fact_named(name: str) -> Any:
    return type(name, (Fact,), {"__annotations__": {"number": int}})


@derive(DriverRelease)
def release(host: Host) -> DriverRelease | None:
    return None


BAD_PLUGINS: list[tuple[Callable[[], Plugin], str]] = [
    (lambda: odd_of(name=3), "`name` of its Plugin"),
    (lambda: odd_of(name="core"), "has the name `core`"),
    (lambda: odd_of(name="builtin"), "has the name `builtin`"),
    (lambda: odd_of(version=None), "`version` of its Plugin"),
    (lambda: odd_of(checks="abc"), "`checks` of its Plugin"),
    (lambda: odd_of(checks=[]), "`checks` of its Plugin"),
    (lambda: odd_of(probes=(3,)), "`probes` of its Plugin"),
    (lambda: odd_of(derive=(nothing,)), "`derive` of its Plugin"),
    (lambda: odd_of(pages="pages"), "`pages` of its Plugin"),
    (lambda: odd_of(facts=(3,)), "`facts` of its Plugin"),
    (lambda: odd_of(facts=(int,)), "`int` is no fact"),
    (lambda: odd_of(facts=(fact_named("Host"),)), "redefines the fact `Host`"),
    (lambda: odd_of(derive=(release,)), "derives the fact `DriverRelease`"),
    (lambda: probing(timeout_s=float("nan")), "`timeout_s`"),
    (lambda: probing(timeout_s=float("inf")), "`timeout_s`"),
    (lambda: probing(timeout_s=-1), "`timeout_s`"),
    (lambda: probing(timeout_s="long"), "`timeout_s` of its Probe"),
    (lambda: probing(provides=(int,)), "`int` is no fact"),
    (lambda: probing(provides=[Own]), "`provides` of its Probe"),
    (lambda: probing(stages=("a",)), "`stages` of its Probe"),
    (lambda: probing(observe=lambda x: {}), "parameter `x`"),
    (lambda: coding(id="ED201"), "redefines `ED201`"),
    (lambda: coding(id="ED002"), "redefines `ED002`"),
    (lambda: coding(name="driver-too-old"), "redefines `driver-too-old`"),
    (lambda: coding(message=3), "Expected `str`"),
    (lambda: coding(topic="mine"), "Invalid enum value 'mine'"),
    (lambda: coding(layer=Layer), "unsupported"),
    (lambda: coding(explains="ED201"), "Expected `array`"),
    (lambda: odd_of(checks=(replace(made(list), codes=()),)), "has no codes"),
]


@pytest.mark.parametrize(("plugin", "words"), BAD_PLUGINS)
def test_a_plugin_that_cannot_be_used(plugin: Callable[[], Plugin], words: str) -> None:
    why = run_bounded(lambda: why_unusable(plugin(), load_plugins().plugins))
    assert words in (why.error if isinstance(why, Failed) else why)


def test_a_plugin_that_can_be_used() -> None:
    """It may give a disease that another defines."""
    known = load_plugins()
    others = next(one for one in known.checks if one.codes[0].id == "ED201")
    plugin = odd_of(
        checks=(made(list), replace(others, name="mine")),
        facts=(Own, Host),
        pages=Path(sys.prefix),
    )
    assert why_unusable(plugin, known.plugins) == ""
    assert why_unusable(probing(), known.plugins) == ""
