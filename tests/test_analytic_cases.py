"""Every case of the analytic reference: closed forms and exact rationals against the engine itself.

The reference folder is found beside the checkout; without it these tests are skipped. The queueing cases take a
million jobs each and are marked slow.
"""

import json
import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simpy import Environment
from simpy.events import Event

from edgesim.signals import Signal
from edgesim.world.network import Link, Network
from edgesim.world.network.alarm import Alarm
from edgesim.world.network.reference import max_min_rates
from edgesim.world.priorities import COMPLETION
from edgesim.world.processor import Processor

CASES = Path(__file__).parents[2] / "shared" / "reference" / "analytic_cases.json"
JOBS = 1_000_000

if not CASES.exists():
    pytest.skip("the analytic reference is not beside this checkout", allow_module_level=True)


def cases(*kinds: str) -> list[Any]:
    found = [case for case in json.loads(CASES.read_text())["cases"] if case["kind"] in kinds]
    assert found
    return [pytest.param(case, id=case["name"].replace(" ", "-")) for case in found]


def close(found: float, expected: float) -> bool:
    return found == expected or math.isclose(found, expected, rel_tol=1e-9)


@pytest.mark.parametrize("case", cases("rate_integral"))
def test_work_under_a_trace_finishes_when_its_integral_says(case: dict[str, Any]) -> None:
    times, values = zip(*case["trace"], strict=True)
    trace = Signal.steps(times, values, case["period"])
    finish = float(case["finish"])
    assert close(trace.when_integral(case["start"], case["work"]), finish)

    if case["work"] and finish < math.inf:
        env = Environment()
        processor = Processor(env, trace)

        def job() -> Iterator[Event]:
            yield env.timeout(case["start"])
            yield processor.run(case["work"])

        env.run(env.process(job()))
        assert close(env.now, finish)


@pytest.mark.parametrize("case", cases("maxmin_rates"))
def test_rates_are_max_min_fair(case: dict[str, Any]) -> None:
    env = Environment()
    network = Network(env)
    links = {name: network.link(name, capacity) for name, capacity in case["links"].items()}
    transfers = {
        name: network.transfer([links[link] for link in path], size_bytes=1e6) for name, path in case["flows"].items()
    }
    env.run(1.0)
    for name, transfer in transfers.items():
        assert close(transfer.sent_bytes, case["rates"][name])
    rates = max_min_rates(case["links"], list(case["flows"].values()))
    assert all(close(rate, case["rates"][name]) for name, rate in zip(case["flows"], rates, strict=True))


def completions(
    links: dict[str, float], flows: dict[str, Any], profile: list[Any], *, later_s: float = 0.0, scale: float = 1.0
) -> dict[str, float]:
    """When each flow of a fluid case ends, ``inf`` if never; all starts and steps later, or all bytes scaled."""
    steps: dict[str, dict[float, float]] = {name: {0.0: capacity} for name, capacity in links.items()}
    for step in profile:
        steps[step["link"]][step["t"] + later_s] = step["bw"]
    env = Environment()
    network = Network(env)
    made = {
        name: network.link(name, Signal.steps(sorted(knots), [knots[t] * scale for t in sorted(knots)]))
        for name, knots in steps.items()
    }
    ends = dict.fromkeys(flows, math.inf)

    def send(name: str, flow: dict[str, Any]) -> Iterator[Event]:
        yield env.timeout(flow["start"] + later_s)
        path = [made[link] for link in flow["links"]]
        yield network.transfer(path, size_bytes=flow["size"] * scale)
        ends[name] = env.now

    for name, flow in flows.items():
        env.process(send(name, flow))
    env.run()
    return ends


@pytest.mark.parametrize("case", cases("fluid_completion"))
def test_transfers_complete_when_the_fluid_model_says(case: dict[str, Any]) -> None:
    expected = {name: float(end) for name, end in case["completion"].items()}
    links, flows, profile = case["links"], case["flows"], case["profile"]
    ends = completions(links, flows, profile)
    assert all(close(ends[name], end) for name, end in expected.items())

    reordered = completions(links, dict(reversed(flows.items())), profile)
    assert all(close(reordered[name], end) for name, end in expected.items()), "order of insertion matters"
    scaled = completions(links, flows, profile, scale=1e7)
    assert all(close(scaled[name], end) for name, end in expected.items()), "units matter"
    later = completions(links, flows, profile, later_s=1000.0)
    assert all(close(later[name], end + 1000.0) for name, end in expected.items()), "the origin of time matters"
    idle = completions({**links, "idle": 3.0}, flows, profile)
    assert idle == ends, "an idle link matters"


# Queues. Sojourn times are summed over the first JOBS jobs by arrival: counting the first completions would leave out
# the long ones.

Sampler = Callable[[random.Random], float]
BALANCED = 0.9486832980505138  # of the two-phase hyperexponential with balanced means
SIZES: dict[str, Sampler] = {  # of mean 1
    "exponential": lambda rng: rng.expovariate(1.0),
    "deterministic": lambda rng: 1.0,
    "uniform01x2": lambda rng: rng.uniform(0.0, 2.0),
    "hyperexp_scv9": lambda rng: (
        rng.expovariate(2 * BALANCED) if rng.random() < BALANCED else rng.expovariate(2 * (1 - BALANCED))
    ),
    "lognormal_s1": lambda rng: rng.lognormvariate(-0.5, 1.0),
}


def mean_sojourn_s(env: Environment, rate: float, size: Sampler, serve: Callable[[float], Event], jobs: int) -> float:
    """Poisson arrivals into something that serves; the mean sojourn time of the first ``jobs`` of them.

    Callbacks, not processes, and nothing but local names: this loop is what most of the time would go to.
    """
    rng = random.Random(1)
    gap_s = rng.expovariate
    arrived = completed = 0
    last_s, sojourn_s = math.inf, 0.0
    done = env.event()

    def arrive(alarm: Event) -> None:
        nonlocal arrived, last_s
        job = serve(size(rng))
        job.callbacks.append(complete)
        arrived += 1
        if arrived == jobs:
            last_s = env.now
        Alarm(env, env.now + gap_s(rate), COMPLETION, arrive)

    def complete(job: Event) -> None:
        nonlocal completed, sojourn_s
        start_s = job.value.start_s
        if start_s <= last_s:
            sojourn_s += env.now - start_s
            completed += 1
            if completed == jobs:
                done.succeed()

    Alarm(env, gap_s(rate), COMPLETION, arrive)
    env.run(done)
    return sojourn_s / jobs


@pytest.mark.slow
@pytest.mark.queueing
@pytest.mark.parametrize("case", cases("mg1_ps"))
def test_an_equally_shared_link_or_processor_is_an_mg1_ps_queue(case: dict[str, Any]) -> None:
    env = Environment()
    bandwidth = case["link_bw"]
    law = case["size"]["dist"]
    processor, network = Processor(env, bandwidth), Network(env)
    path = [network.link("shared", bandwidth)]

    def serve(size: float) -> Event:
        if law in ("exponential", "uniform01x2"):
            return processor.run(size * bandwidth)
        return network.transfer(path, size_bytes=size * bandwidth)

    found = mean_sojourn_s(env, case["arrival_rate"], SIZES[law], serve, JOBS)
    assert found == pytest.approx(case["mean_sojourn_s"], rel=0.03)


@pytest.mark.slow
@pytest.mark.queueing
@pytest.mark.parametrize("case", cases("mg_ps_capped"))
def test_a_shared_link_behind_access_links_is_a_capped_ps_queue(case: dict[str, Any]) -> None:
    env = Environment()
    network = Network(env)
    shared = network.link("shared", case["link_bw"])
    idle: list[Link] = []

    def serve(size: float) -> Event:
        access = idle.pop() if idle else network.link("access", case["per_flow_cap"])
        transfer = network.transfer([access, shared], size_bytes=size * 1e6)
        transfer.callbacks.append(lambda _: idle.append(access))
        return transfer

    found = mean_sojourn_s(env, case["arrival_rate"], SIZES["exponential"], serve, JOBS)
    assert found == pytest.approx(case["mean_sojourn_s"], rel=0.03)


class Waiting(Event):
    """A job from its arrival on, its own value once it is done."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.callbacks = []
        self.start_s = env.now


class Fifo:
    """Jobs one at a time on each of some processors, in order of arrival."""

    def __init__(self, env: Environment, servers: int) -> None:
        self.env = env
        self.idle = [Processor(env, 1.0) for _ in range(servers)]
        self.waiting: deque[tuple[float, Waiting]] = deque()

    def serve(self, size: float) -> Event:
        job = Waiting(self.env)
        if self.idle:
            self._run(self.idle.pop(), size, job)
        else:
            self.waiting.append((size, job))
        return job

    def _run(self, processor: Processor, size: float, job: Waiting) -> None:
        def end(_: Event) -> None:
            job.succeed(job)
            if self.waiting:
                self._run(processor, *self.waiting.popleft())
            else:
                self.idle.append(processor)

        processor.run(size).callbacks.append(end)


@pytest.mark.slow
@pytest.mark.queueing
@pytest.mark.parametrize("case", cases("mm1_fifo", "md1_fifo", "mg1_fifo", "mmc_fifo"))
def test_processors_that_take_one_job_at_a_time_are_a_fifo_queue(case: dict[str, Any]) -> None:
    law = {"md1_fifo": "deterministic", "mg1_fifo": "lognormal_s1"}.get(case["kind"], "exponential")
    tail = law == "lognormal_s1" and case["arrival_rate"] > 0.8  # a million jobs have a standard error of 3 % there
    env = Environment()
    serve = Fifo(env, case.get("servers", 1)).serve
    found = mean_sojourn_s(env, case["arrival_rate"], SIZES[law], serve, 4 * JOBS if tail else JOBS)
    assert found == pytest.approx(case["mean_sojourn_s"], rel=0.03)
