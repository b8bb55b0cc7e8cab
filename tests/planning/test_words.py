"""The printed plan."""

from dataclasses import replace

from localgrad.placement import Kind, Transfer
from localgrad.planning import Link, Plan, predict, told
from localgrad.planning.words import WIDTH
from tests.planning.simulated import chain, groups


def words(plan: Plan, micro_batches: int = 8) -> str:
    text = told(plan, predict(plan, micro_batches=micro_batches))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    return text


def flat(text: str) -> str:
    return " ".join(text.split())


def test_hosting_sending_and_prediction() -> None:
    text = words(replace(chain([1.0, 1.0, 3.0], hosts=[0, 0, 1], link=Link(125e6, 0.02), backprop=4.0), measured=False))
    assert "plan of exp.py:tiny: tiny, DGL, batch 8, on 2 ranks" in text
    assert "links: 1 Gbit/s, 20 ms, float32; devices: 2 of speed 1" in text
    assert "MACs per second at speed 1, assumed; --measure times the units here" in text
    assert "0 unit0, 1 unit1" in text
    assert "0 -> 1     0.000  output of unit 1 unit1, 10" in text
    assert "time per mini-batch 3.00 s, 3 samples/s: stage 1 computes all the time" in text
    assert "backpropagation on one device                            4.00 s   speed-up 1.33" in text
    assert "ideal 1F1B pipeline, 2 stages, 8 micro-batches" in text
    assert "DDP on 2 devices" in text


def test_break_even_in_words() -> None:
    text = flat(words(chain([1.3 / 4] * 4, backprop=1.0)))
    assert (
        "the units do 30.0% more work than backpropagation (a = 0.300). 4 equal stages would be K/(1+a) = 3.08 times "
        "as fast as one device; a 1F1B pipeline stands idle for 27.3% of the time with 8 micro-batches. Local learning "
        "is the faster one as long as a is below (K-1)/m = 0.375: it is. With 10 micro-batches"
    ) in text
    assert "(K-1)/m = 0.375: it is not." in flat(words(chain([2.0 / 4] * 4, backprop=1.0)))
    uneven = flat(words(chain([0.1, 0.1, 0.1, 0.9], backprop=1.0)))
    assert "it is. This plan is slower all the same, because its stages are not equal or wait." in uneven
    assert "20.0% less work" in flat(words(chain([0.2] * 4, backprop=1.0)))
    alone = words(chain([1.0]))
    assert "with one stage there is no pipeline" in alone and "Nothing is sent" in alone


def test_replicas_and_devices() -> None:
    text = words(replace(chain([1.0, 1.0], replicas=2, speeds=[1.0, 0.5]), memory_limit=2**30))
    assert "on 4 ranks: 2 stages of 2 replicas" in text
    assert "devices: 2 of speed 1, 2 of speed 0.5" in text
    assert "    0-1 " in text and "    2-3 " in text
    assert "each of 2 replicas its share" in text
    assert "backpropagation on the fastest device alone" in text
    assert "memory limit: 1.00 GiB per rank" in text


def test_who_waits() -> None:
    slow = Link(100.0)
    assert "the link from stage 0 to 1 is busy all the time" in words(chain([1.0, 1.0], link=slow))
    talking = replace(groups([1.0, 1.0]), link=Link(1e9, 0.1))
    assert "stages 0, 1 take turns: they wait for what the others send" in words(talking)
    cascade = chain([3.0, 4.0], forward=0.25, reaches=[(1,), (1, 2)])
    text = flat(words(cascade))
    assert "take turns: cascades come down before a unit goes on" in text
    assert "gradients at the output of unit 0 unit0, 10 (backward)" in text


def test_weights_that_come_late() -> None:
    plan = chain([1.0, 1.0])
    plan = replace(plan, transfers=(*plan.transfers, Transfer(Kind.WEIGHTS, 1, 1, 0, (25,))))
    text = flat(words(plan))
    assert "weights of unit 1 unit1, 25 (backward)" in text
    assert "exact only with one mini-batch in flight" in text and "(ema_delay)" in text


def test_many_units_wrap() -> None:
    text = words(chain([1.0] * 40, hosts=[0] * 39 + [1]))
    assert "38 unit38" in text
