"""Texts about disturbances, and a simulation as text."""

from dataclasses import replace

import pytest
from pytest import approx

from localgrad.errors import LocalgradError
from localgrad.placement import Kind
from localgrad.planning.plan import Link
from localgrad.planning.simulate import simulate, simulate_rivals
from localgrad.planning.simulate_conditions import Conditions, Losses, Pauses, Stragglers
from localgrad.planning.simulate_told import simulation_told
from localgrad.planning.simulate_words import in_words, parse_duration, parse_pauses, parse_stragglers
from tests.planning.simulated import chain


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("24h", 86400), ("10min", 600), ("0.5s", 0.5), ("2 d", 172800), (".5ms", 5e-4), ("3us", 3e-6), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "losses") == approx(seconds)


@pytest.mark.parametrize("text", ["", "24", "h", "-1s", "1hour", "1e3s", "nan s", "24h,1s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(LocalgradError) as error:
        parse_duration(text, "losses")
    assert str(error.value) == (
        f"losses: expected a time such as 24h, 10min or 0.5s, got {text!r}. Units are us, ms, s, min, h, d."
    )


def test_stragglers() -> None:
    assert parse_stragglers("0.05x4") == parse_stragglers("5% x 4") == Stragglers(0.05, 4.0)


@pytest.mark.parametrize("text", ["", "0.05", "x4", "1.5x4", "150%x4", "0.05x0.5", "0.05*4", "-0.1x4"])
def test_what_are_no_stragglers(text: str) -> None:
    with pytest.raises(LocalgradError) as error:
        parse_stragglers(text)
    assert str(error.value).startswith("stragglers: expected SHARExFACTOR, such as 0.05x4 or 5%x4")
    assert str(error.value).endswith(f"got {text!r}.")


def test_pauses() -> None:
    assert parse_pauses("10min,5s") == Pauses(600.0, 5.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("10min", "expected how long a node computes in between, and for how long it pauses, such as 10min,5s"),
        ("10min,often", "pauses: expected a time such as 24h, 10min or 0.5s, got 'often'"),
        ("0s,1s", "a node must compute in between, got '0s,1s'"),
    ],
)
def test_what_are_no_pauses(text: str, told: str) -> None:
    with pytest.raises(LocalgradError) as error:
        parse_pauses(text)
    assert told in str(error.value)


def test_times_for_people() -> None:
    times = (0, 2e-6, 0.0015, 1.5, 90, 5400, 129600)
    assert [in_words(time) for time in times] == ["0 s", "2 us", "1.5 ms", "1.5 s", "1.5 min", "1.5 h", "1.5 d"]


def test_a_simulation_in_words() -> None:
    plan = chain([1.0, 3.0], replicas=2, link=Link(1e6, 0.001), parameters=100, speeds=[1.0, 0.5])
    conditions = Conditions(
        batches=200,
        jitter=0.1,
        link_jitter=0.2,
        stragglers=Stragglers(0.25, 2.0),
        pauses=Pauses(600.0, 5.0),
        losses=Losses(times=(100.0,), restart=30.0, checkpoint_every=10, checkpoint_seconds=0.5),
        replica_link=Link(1e9),
    )
    found = simulate_rivals(plan, conditions)
    text = simulation_told(plan, conditions, found.local, found)
    flat = " ".join(text.split())
    for told in (
        "simulation of exp.py:tiny: tiny, DGL, batch 8, 200 mini-batches on 4 nodes: 2 stages, each of 2 replicas",
        "unit times: measured",
        "links 8 Mbit/s, latency 1 ms; between replicas 8 Gbit/s, latency 0 s",
        "1 of 2 stages on devices of another speed than 1",
        "compute times spread by 10%; messages by 20%; 1 of 4 nodes take 2 times as long",
        "a node pauses 5 s after 10 min of computing",
        "a node is lost at 1 given times, restart 30 s, checkpoint every 10 steps (takes 500 ms)",
        "1F1B, 8 micro-batches",
        "data parallel",
        "one device of speed 1, undisturbed 4 s",
        "most in use: computing on stage 1",
        "each replica sends 0.0004 MB per mini-batch to add up gradients",
        "1 losses:",
        "0 -> 1",
    ):
        assert told in flat, text
    assert max(map(len, text.splitlines())) <= 100


def test_many_stages_show_the_busiest() -> None:
    plan = chain([1.0] * 19 + [2.0])
    conditions = Conditions(batches=5)
    text = simulation_told(plan, conditions, simulate(plan, conditions), None)
    assert "the 16 that compute most of 20" in text and "the 16 most in use of 19" in text
    assert "1F1B" not in text
    assert "     19    " in text


def test_weights_that_copies_follow_are_told() -> None:
    plan = chain([1.0, 1.0])
    follows = replace(plan.transfers[0], kind=Kind.WEIGHTS, unit=1, source=1, target=0)
    plan = replace(plan, transfers=(*plan.transfers, follows))
    for delay, told in ((None, "which the runtime refuses: give --ema-delay;"), (3, "later blocks 3 steps late;")):
        conditions = Conditions(batches=2, ema_delay=delay)
        text = simulation_told(plan, conditions, simulate(plan, conditions), None)
        assert told in " ".join(text.split())


def test_a_plan_without_parameters_says_so() -> None:
    plan, conditions = chain([1.0], replicas=2), Conditions(batches=2)
    text = simulation_told(plan, conditions, simulate(plan, conditions), None)
    assert "the plan has no parameter counts: adding up gradients takes no time here" in text
