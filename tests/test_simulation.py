"""Whole simulations: what every run promises, whatever the learner."""

import json
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgesim
from edgesim import Event, Learner, LearnerFailure, NeedsValues, Offline, UserError, VerbFailure, WorkFailure, World
from edgesim.jobs import CPU, InlineExecutor, WorkPlane, job
from edgesim.run_folder import RunFolder
from edgesim.scenario import Scenario
from edgesim.simulation import simulate
from edgesim.tables import TABLES, read_tables
from edgesim.testing import run_tiny, tiny_scenario

ALL = {
    "no_adaptation": {},
    "on_device": {"trigger": {"every": "3 min"}, "epochs": 2},
    "cloud_only": {"period": "3 min", "epochs": 2},
    "ecavg": {"every": "5 min", "deadline": "2 min", "edge_epochs": 1, "server_epochs": 1},
}
NEAR = {
    "name": "near",
    "count": 1,
    "compute": "1 MFLOP/s",
    "memory": "64 MiB",
    "uplink": "8 kbit/s",
    "downlink": "8 kbit/s",
}


def four(**changes: Any) -> Scenario:
    return edgesim.Scenario.model_validate(
        {**tiny_scenario(**changes).to_document(), "learners": ALL}, context=_with_params()
    )


def _with_params() -> dict[str, object]:
    from edgesim.learner import installed_params

    return {"learner_models": installed_params()}


def tables_of(path: Path) -> dict[str, bytes]:
    return {name: (path / "tables" / f"{name}.parquet").read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def four_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return edgesim.run(four(), seeds=[0, 1], out=tmp_path_factory.mktemp("runs") / "four")


def test_the_same_seed_gives_the_same_tables_to_the_byte(four_runs: Path, tmp_path: Path) -> None:
    again = edgesim.run(four(), seeds=[0, 1], out=tmp_path / "again")
    assert tables_of(again) == tables_of(four_runs)


def test_without_one_learner_the_others_rows_are_the_same(four_runs: Path, tmp_path: Path) -> None:
    fewer = edgesim.run(four(), learners=["ecavg", "on_device"], seeds=[0, 1], out=tmp_path / "fewer")
    every = read_tables(four_runs)
    for name, frame in read_tables(fewer).items():
        for label in ("ecavg", "on_device"):
            expected = every[name][every[name]["learner"] == label].reset_index(drop=True)
            pd.testing.assert_frame_equal(frame[frame["learner"] == label].reset_index(drop=True), expected)


def test_the_environment_of_a_seed_is_the_same_for_every_learner(four_runs: Path) -> None:
    tables = read_tables(four_runs)
    for name in ("environment", "drifts", "availability"):
        by_learner = [
            frame.drop(columns=["learner", "oracle", "sequence"]).reset_index(drop=True)
            for _, frame in tables[name].groupby("learner")
        ]
        assert len(by_learner) == len(ALL)
        for frame in by_learner[1:]:
            pd.testing.assert_frame_equal(frame, by_learner[0])


def test_another_seed_is_another_environment(four_runs: Path) -> None:
    accuracy = read_tables(four_runs)["accuracy"]
    start = accuracy[(accuracy["cause"] == "start") & (accuracy["learner"] == "no_adaptation")]
    zero, one = (start.loc[start["seed"] == seed, "loss"].to_numpy() for seed in (0, 1))
    assert not np.array_equal(zero, one)


class SlowExecutor:
    """Runs everything inline, after a nap: virtual time must not notice."""

    slots = 3
    workers = 2
    threads_per_job = 1
    placement = CPU

    def __init__(self) -> None:
        self.worker_s: dict[int, float] = {}
        self._inline = InlineExecutor()
        self._started: list[tuple[int, Any]] = []

    def start(self, ticket: int, calls: Any) -> None:
        self._started.append((ticket, calls))

    def finish(self) -> tuple[int, list[Any]]:
        time.sleep(0.002)
        self._inline.start(*self._started.pop())
        return self._inline.finish()

    def abandon(self) -> None:
        self._started.clear()

    def close(self) -> None:
        self._inline.close()


def test_an_artificially_slow_executor_that_ends_out_of_order_gives_the_same_tables(
    four_runs: Path, tmp_path: Path
) -> None:
    from edgesim.learner import discover

    scenario = four()
    cast = {spec.label: discover()[spec.learner].load()(spec.params) for spec in scenario.learners}
    facts = {label: {"learner": label, "oracle": False} for label in cast}
    folder = RunFolder.create(tmp_path / "slow", scenario, [0, 1], facts, timing_only=False)
    with folder.running():
        simulate(folder, scenario, [0, 1], cast, plane=WorkPlane(SlowExecutor(), max_pending=37))
    assert tables_of(folder.path) == tables_of(four_runs)


def test_accuracy_changes_exactly_when_the_model_or_the_data_does(four_runs: Path) -> None:
    tables = read_tables(four_runs)
    key = ["learner", "seed", "device", "time_s"]
    accuracy, deployments, drifts = (tables[name][key] for name in ("accuracy", "deployments", "drifts"))
    causes = pd.concat([deployments, drifts])
    pd.testing.assert_series_equal(accuracy.value_counts().sort_index(), causes.value_counts().sort_index())


def test_the_observer_costs_nothing(four_runs: Path) -> None:
    tables = read_tables(four_runs)
    idle = [tables[name][tables[name]["learner"] == "no_adaptation"] for name in ("transfers", "computations")]
    assert len(idle[0]) == 0
    assert set(idle[1]["status"]) == {"offline"}


# Conservation ---------------------------------------------------------------------------------------------------------


class Chatters(Learner):
    """Sends and trains as hard as it can, several things at a time, and counts what it started."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.transfers = 0
        self.jobs = 0

    def run(self, world: World) -> Generator[Event, Any, None]:
        for device in world.devices:
            for lane in range(2):
                world.process(self._chat(world, device, lane))
        yield world.sleep(0)

    def _chat(self, world: World, device: Any, lane: int) -> Generator[Event, Any, None]:
        while True:
            yield device.wait_until_online()
            try:
                self.jobs += 1
                model = yield device.train(world.initial, epochs=1 + lane)
                self.transfers += 1
                yield device.upload(model)
                self.transfers += 1
                yield device.download(world.initial)
                self.transfers += 1
                yield device.send(world.devices[device.index - 1], device.samples())
            except VerbFailure:
                yield world.sleep(1.0)


def windows(low: int, high: int) -> st.SearchStrategy[list[dict[str, str]]]:
    one = st.tuples(st.integers(low, high), st.integers(1, 40))
    return st.lists(one, max_size=1).map(lambda spans: [{"at": f"{at} s", "for": f"{span} s"} for at, span in spans])


groups = st.builds(
    lambda compute, memory, uplink, downlink, dip, away, outages: {
        "count": 1,
        "compute": {"steps": {"0 s": f"{compute} kFLOP/s", "50 s": "0 FLOP/s", "60 s": f"{2 * compute} kFLOP/s"}},
        "memory": {"steps": {"0 s": f"{memory} kB", f"{dip} s": "3 kB"}, "repeat": "90 s"},
        "uplink": {"steps": {"0 s": f"{uplink} bit/s", "30 s": f"{3 * uplink} bit/s"}, "repeat": "45 s"},
        "downlink": f"{downlink} bit/s",
        "latency": "100 ms",
        "power": {"idle": "1 W", "compute": "3 W", "radio": "500 mW", "per_byte": "1 uJ/B"},
        "away": away,
        "outages": outages,
    },
    st.integers(20, 400),
    st.integers(4, 12),
    st.integers(400, 40_000),
    st.integers(400, 40_000),
    st.integers(10, 80),
    windows(5, 150),
    windows(5, 150),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(groups, min_size=2, max_size=3))
def test_bytes_flops_and_joules_are_conserved(fleet: list[dict[str, Any]]) -> None:
    devices = [{**group, "name": f"g{number}"} for number, group in enumerate(fleet)]
    scenario = tiny_scenario(devices=devices, horizon="3 min", drifts=[])
    learner = Chatters(Chatters.Params())
    tables = run_tiny(learner, scenario, timing_only=True)
    transfers, jobs, energy = tables["transfers"], tables["computations"], tables["energy"]
    jobs = jobs[jobs["status"] != "offline"]

    assert len(transfers) == learner.transfers
    assert len(jobs) == learner.jobs
    delivered, cut, flying = (transfers[transfers["status"] == s] for s in ("delivered", "cut", "in_flight"))
    assert len(delivered) + len(cut) + len(flying) == len(transfers)
    assert (delivered["sent_bytes"] == delivered["size_bytes"]).all()
    assert ((transfers["sent_bytes"] >= 0) & (transfers["sent_bytes"] <= transfers["size_bytes"])).all()
    assert flying["end_s"].isna().all()
    assert (cut["cause"] != "").all()

    for index, group in enumerate(scenario.devices):
        name = f"g{index}-0"
        mine = transfers[transfers["device"] == name]
        capacity = group.uplink.signal().integral(0.0, 180.0)
        assert mine.loc[mine["direction"] != "down", "sent_bytes"].sum() <= capacity * (1 + 1e-9)
        own = jobs[jobs["node"] == name]
        assert own["done_flops"].sum() <= group.compute.signal().integral(0.0, 180.0) * (1 + 1e-9)
        assert own["busy_s"].sum() <= 180.0 * (1 + 1e-9)
        spent = energy[energy["device"] == name].iloc[0]
        assert spent["compute_j"] == pytest.approx(own["energy_j"].sum(), rel=1e-9, abs=1e-12)
        assert spent["compute_j"] == pytest.approx(3.0 * own["busy_s"].sum(), rel=1e-9, abs=1e-12)
        assert spent["idle_j"] == pytest.approx(spent["online_s"], rel=1e-9)
        away = sum(
            min(end, 180.0) - start for window in group.away for start, end in window.spans(180.0) if start < 180.0
        )
        assert spent["online_s"] == pytest.approx(180.0 - away, rel=1e-9)
        assert spent["total_j"] == pytest.approx(spent[["idle_j", "compute_j", "radio_j"]].sum(), rel=1e-12)
    assert energy["radio_j"].sum() == pytest.approx(transfers["energy_j"].sum(), rel=1e-9, abs=1e-12)
    done = jobs[jobs["status"] == "done"]
    assert (done["done_flops"] == done["flops"]).all()
    assert (jobs["done_flops"] <= jobs["flops"] * (1 + 1e-12)).all()


# Hand-computed worlds -------------------------------------------------------------------------------------------------


class Scripted(Learner):
    """Runs a generator function given by the test, and keeps a log."""

    script: Any = None

    def __init__(self, params: Any = None) -> None:
        super().__init__(params)
        self.log: list[Any] = []

    def run(self, world: World) -> Generator[Event, Any, None]:
        yield from type(self).script(self, world)


def scripted(script: Any, scenario: Scenario, **kwargs: Any) -> tuple[list[Any], dict[str, pd.DataFrame]]:
    learner = type("Play", (Scripted,), {"script": staticmethod(script), **kwargs})()
    tables = run_tiny(learner, scenario)
    return learner.log, tables


def test_an_upload_takes_its_latency_and_its_bytes_over_the_uplink() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        yield world.devices[0].upload(edgesim.Message(2000))
        self.log.append(world.now)

    log, tables = scripted(script, tiny_scenario(devices=[{**NEAR, "latency": "250 ms"}], drifts=[]))
    assert log == [2.25]  # 2000 B at 1000 B/s after 0.25 s
    row = tables["transfers"].iloc[0]
    assert (row["start_s"], row["end_s"], row["kind"], row["status"]) == (0.0, 2.25, "control", "delivered")


def test_an_upload_waits_through_an_outage_and_resumes_without_loss() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        yield world.devices[0].upload(edgesim.Message(2000))
        self.log.append(world.now)

    outage = [{"at": "1 s", "for": "10 s"}]
    log, _ = scripted(script, tiny_scenario(devices=[{**NEAR, "outages": outage}], drifts=[]))
    assert log == [12.0]


def test_a_device_that_leaves_cuts_its_transfer_and_kills_its_job_and_both_are_told() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        verbs = [device.upload(edgesim.Message(2000)), device.train(world.initial, epochs=1000)]
        gathered = yield world.gather(verbs)
        self.log += [(world.now, type(failure).__name__, str(failure)) for _, failure in gathered.failures]
        self.log.append(device.online)
        yield device.wait_until_online()
        self.log.append(world.now)

    away = [{"at": "1500 ms", "for": "3 s"}]
    log, tables = scripted(script, tiny_scenario(devices=[{**NEAR, "away": away}], drifts=[]))
    assert log[0] == (1.5, "Disconnected", "disconnected after 1500 of 2000 bytes")
    assert log[1][:2] == (1.5, "Killed")
    assert log[2:] == [False, 4.5]
    row = tables["transfers"].iloc[0]
    assert (row["sent_bytes"], row["status"], row["cause"]) == (1500.0, "cut", "schedule")
    killed = tables["computations"][tables["computations"]["status"] == "killed"].iloc[0]
    assert killed["done_flops"] == pytest.approx(1.5e6)
    assert killed["cause"] == "schedule"


def test_two_jobs_share_the_processor_and_its_energy() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        yield world.gather([device.train(world.initial, epochs=50), device.train(world.initial, epochs=50)])
        self.log.append(world.now)

    power = {"idle": "1 W", "compute": "2 W"}
    log, tables = scripted(script, tiny_scenario(devices=[{**NEAR, "power": power}], drifts=[]))
    jobs = tables["computations"].iloc[1:]
    assert log[0] == pytest.approx(jobs["flops"].sum() / 1e6)
    assert jobs["energy_j"].tolist() == pytest.approx([log[0], log[0]])  # 2 W, half the time each


def test_a_deployment_is_informed_by_a_drift_once_its_model_saw_a_sample_taken_after_it() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        one, two = world.devices
        before = yield one.train(world.initial)
        yield world.sleep(100.0)  # the drift is at 60 s and replaces half of what `one` and `two` hold
        yield one.deploy(before)
        after = yield one.train(before)
        yield one.deploy(after)
        yield one.send(two, after)
        yield two.deploy(after)

    drift = {"name": "d", "kind": "replacement", "at": "60 s", "replace": 0.5}
    _, tables = scripted(script, tiny_scenario(devices=[{**NEAR, "count": 2}], drifts=[drift]))
    rows = tables["deployments"].iloc[2:]
    assert rows["device"].tolist() == ["near-0", "near-0", "near-1"]
    assert rows["informed_by"].tolist() == ["", "d/1/near-0", ""]
    assert rows["cohort_informed_by"].tolist() == ["", "d/1/near-0", "d/1/near-1"]
    assert tables["drifts"]["replaced_samples"].tolist() == [13, 13]  # half of 20 at first and 6 arrivals


def test_served_from_the_cloud_accuracy_is_the_clouds_and_every_request_costs_bytes() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        yield world.sleep(60.0)
        world.cloud.serve(world.untrained("other"))

    outage = [{"at": "120 s", "for": "60 s"}]
    devices = [{**NEAR, "requests": "2 /s", "latency": "100 ms", "outages": outage}]
    _, tables = scripted(script, tiny_scenario(devices=devices, drifts=[], horizon="4 min"))
    accuracy, serving = tables["accuracy"], tables["serving"]
    assert accuracy["model_id"].tolist() == ["pretrained", "untrained/other"]
    assert accuracy["serving"].tolist() == ["device", "cloud"]
    assert serving["mode"].tolist() == ["device", "cloud", "cloud", "cloud"]
    assert serving["requests"].tolist() == [120.0] * 4
    assert serving["unserved"].tolist() == [0.0, 0.0, 120.0, 0.0]
    sample_bytes = 8 * 4 + 1  # eight float32 features and a label
    assert (serving["served"] + serving["unserved"]).sum() + serving["waiting"].iloc[-1] == pytest.approx(480.0)
    in_cloud = serving[serving["mode"] == "cloud"]
    assert in_cloud["up_bytes"].tolist() == pytest.approx((in_cloud["served"] * sample_bytes).tolist())
    forward_flops = 2 * (8 * 8 + 8 * 4)
    answer_s = 0.2 + sample_bytes / 1000 + forward_flops / 1e9 + 100 / 1000
    assert serving["latency_p50_s"].iloc[0] == pytest.approx(forward_flops / 1e6)
    assert serving["latency_p50_s"].iloc[1] == pytest.approx(answer_s)  # the links are busy for a quarter of the time
    assert serving["latency_mean_s"].iloc[1] > answer_s


def test_weights_sent_as_fp16_cost_half_and_lose_precision() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        arrived = yield world.devices[0].download(world.initial)
        sent, got = world.initial.state.value(), arrived.state.value()
        self.log.append(max(float((sent[name] - got[name]).abs().max()) for name in sent))

    sizes = {}
    for codec in ("fp32", "fp16"):
        log, tables = scripted(script, tiny_scenario(devices=[NEAR], drifts=[], training={"codec": codec}))
        sizes[codec] = int(tables["transfers"]["size_bytes"].iloc[0])
        assert (log[0] == 0.0) == (codec == "fp32")
        assert log[0] < 1e-3
    weights = 8 * 8 + 8 + 8 * 4 + 4
    assert sizes["fp32"] - sizes["fp16"] >= 2 * weights - 16  # the header's offsets are shorter or padded too


def test_memory_overhead_and_step_overhead_are_charged() -> None:
    def script(self: Scripted, world: World) -> Generator[Event, Any, None]:
        yield world.devices[0].train(world.initial, epochs=2)
        self.log.append(world.now)

    plain, tables = scripted(script, tiny_scenario(devices=[NEAR], drifts=[]))
    heavy_device = {**NEAR, "step_overhead": "1 s", "memory_overhead": "1 kB"}
    heavy, heavy_tables = scripted(script, tiny_scenario(devices=[heavy_device], drifts=[]))
    assert heavy[0] - plain[0] == pytest.approx(2 * 2)  # 20 samples in batches of 16, two epochs
    peaks = [t["computations"]["peak_memory_bytes"].iloc[1] for t in (tables, heavy_tables)]
    assert peaks[1] - peaks[0] == 1000


# What goes wrong ------------------------------------------------------------------------------------------------------


@job
def fails(state: Any, *views: Any, architecture: Any) -> None:
    raise ValueError("no such luck")


def test_a_job_that_raises_names_learner_device_time_and_job_and_keeps_the_rows(tmp_path: Path) -> None:
    class Scores(Learner):
        def run(self, world: World) -> Generator[Event, Any, None]:
            yield world.sleep(30.0)
            scores = yield world.devices[1].score(world.initial, fails)
            scores.value()

    folder = RunFolder.create(tmp_path / "run", tiny_scenario(), [0], {"scores": {}}, timing_only=False)
    with pytest.raises(WorkFailure) as caught, folder.running():
        simulate(folder, tiny_scenario(), [0], {"scores": Scores(None)})
    told = str(caught.value)
    for part in ("'scores'", "near-1", "30 s", "near-1/score/1", "no such luck"):
        assert part in told
    manifest = json.loads((folder.path / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "no such luck" in manifest["error"]
    assert len(read_tables(folder.path)["deployments"]) == 4


def test_a_learner_that_raises_is_named_with_its_virtual_time(tmp_path: Path) -> None:
    class Trips(Learner):
        def run(self, world: World) -> Generator[Event, Any, None]:
            yield world.sleep(12.0)
            raise KeyError("oops")

    with pytest.raises(LearnerFailure, match=r"'learner', seed 0, failed at 12 s of virtual time: KeyError: 'oops'"):
        run_tiny(Trips(None))


def test_a_learner_that_ends_the_process_fails(tmp_path: Path) -> None:
    class Leaves(Learner):
        def run(self, world: World) -> Generator[Event, Any, None]:
            yield world.sleep(12.0)
            sys.exit(0)

    with pytest.raises(LearnerFailure, match=r"failed at 12 s of virtual time: it called sys.exit\(0\)"):
        run_tiny(Leaves(None))


@pytest.mark.parametrize("returned", [None, "no model"])
def test_a_learner_that_raises_before_its_world_is_there_is_named_too(tmp_path: Path, returned: str | None) -> None:
    class Trips(Learner):
        def prepare(self, offline: Offline) -> Any:
            offline.pretrained()
            return returned or {}["no such thing"]

        def run(self, world: World) -> Generator[Event, Any, None]:
            yield world.sleep(1.0)

    folder = RunFolder.create(tmp_path / "run", tiny_scenario(), [3], {"trips": {}}, timing_only=False)
    with pytest.raises(LearnerFailure, match=r"'trips', seed 3, failed at 0 s of virtual time: "), folder.running():
        simulate(folder, tiny_scenario(), [3], {"trips": Trips(None)})
    manifest = json.loads((folder.path / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert manifest["error"].startswith("LearnerFailure: learner 'trips', seed 3")


def test_without_test_samples_everything_but_accuracy_is_as_ever(four_runs: Path, tmp_path: Path) -> None:
    data = {**tiny_scenario().to_document()["data"], "test_samples": 0}
    unseen = read_tables(edgesim.run(four(data=data), seeds=[0, 1], out=tmp_path / "run"))
    seen = read_tables(four_runs)
    measured = ["samples", "correct", "accuracy", "loss"]
    assert unseen["accuracy"]["samples"].eq(0).all()
    assert unseen["accuracy"][measured[1:]].isna().all(axis=None)
    for name, table in seen.items():
        left_out = measured if name == "accuracy" else []
        pd.testing.assert_frame_equal(table.drop(columns=left_out), unseen[name].drop(columns=left_out))


def test_timing_only_refuses_a_learner_that_reads_results_before_anything_runs(tmp_path: Path) -> None:
    class Reads(Learner):
        needs_values = True

        def run(self, world: World) -> Generator[Event, Any, None]:
            yield world.sleep(0)

    import edgesim.simulation as simulation

    with pytest.raises(NeedsValues, match="--timing-only computes none"):
        simulation.refuse_readers({"reads": Reads(None)})


def test_an_unknown_learner_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'ecavg'"):
        edgesim.run(four(), learners=["ecavgg"], out=tmp_path / "run")


def test_a_folder_with_something_in_it_is_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        edgesim.run(four(), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_code_of_ones_own_runs_only_where_it_is_allowed(tmp_path: Path) -> None:
    scenario = tiny_scenario(learners={"mine": {"learner": "learners.no_adaptation:NoAdaptation"}})
    with pytest.raises(UserError, match="--allow-code"):
        edgesim.run(scenario, out=tmp_path / "refused")
    done = edgesim.run(scenario, out=tmp_path / "allowed", allow_code=True)
    assert set(read_tables(done)["deployments"]["learner"]) == {"mine"}


def test_two_simulations_in_one_process_interleaved_do_not_notice_each_other(four_runs: Path, tmp_path: Path) -> None:
    inner: list[Path] = []

    def nest(progress: edgesim.Progress) -> None:
        if not inner and progress.virtual_s > 0:
            inner.append(tmp_path / "inner")
            edgesim.run(four(), learners=["on_device"], seeds=[1], out=inner[0])

    outer = edgesim.run(four(), seeds=[0, 1], out=tmp_path / "outer", on_progress=nest)
    assert tables_of(outer) == tables_of(four_runs)
    expected = read_tables(four_runs)["accuracy"].query("learner == 'on_device' and seed == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(read_tables(inner[0])["accuracy"], expected)
