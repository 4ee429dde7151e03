"""Timelines: what is drawn where, lanes, arrows; and the file read back with Perfetto's own protobuf."""

from __future__ import annotations

import itertools
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from written_runs import WrittenRun

import analysis
from analysis.perfetto_trace import write_trace
from analysis.timeline import Entry, Mark, Sample, Slice, Track, in_lanes, timeline
from edgesim.cli import app
from edgesim.tables import UserError


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Two devices for 100 s: jobs that overlap, transfers both ways, a drift, a model, a time away."""
    run = WrittenRun(tmp_path / "run", learners={"a": False, "b": True}, seeds=[3, 4])
    world = run["a", 3]
    for device in ("x", "y"):
        world.online(device, 0.0, cause="start")
    world.accuracy("x", 0.0, 80)
    world.accuracy("x", 0.0, 90)
    world.accuracy("x", 20.0, 90)
    world.accuracy("x", 30.0, 40, cause="drift")
    world.accuracy("x", 30.0, 10, view="previous-1")
    world.drift("x", 30.0, 1, name="new", step=1, steps=2)
    world.deploy("x", 0.0, model_id="m0", cause="start")
    world.deploy("x", 50.0, model_id="m1", informed_by="x/1")
    world.job("x", 10.0, 20.0, samples=16)
    world.job("x", 15.0, 25.0, kind="score")
    world.job("x", 25.0, 26.0, status="killed", cause="memory")
    world.job("x", 40.0, 40.0, status="out_of_memory")
    world.job("x", 90.0, None)
    world.job("cloud", 0.0, 0.0, kind="pretrain", status="offline")
    world.send("x", 20.0, 30.0, 100, transfer_id="t1")
    world.send("x", 25.0, 35.0, 100, transfer_id="t2", kind="data")
    world.send("x", 36.0, 38.0, 100, transfer_id="t3", direction="down")
    world.send("x", 40.0, 45.0, 100, transfer_id="t4", status="cut", cause="outage")
    world.send("y", 50.0, 55.0, 100, transfer_id="t5", direction="peer", peer="x")
    world.send("x", 95.0, None, 100, transfer_id="t6")
    world.online("y", 60.0, "offline")
    world.online("y", 70.0, "online")
    for time_s, used in ((10.0, 5.0), (20.0, 0.0)):
        world.add("memory", device="x", time_s=time_s, used_bytes=used)
    for time_s, value in ((0.0, 1000.0), (50.0, 500.0)):
        world.add("environment", device="x", resource="uplink", time_s=time_s, value=value)
    run["b", 3].online("x", 0.0, cause="start")
    run["a", 4].online("x", 0.0, cause="start")
    return run.close()


def _entries(run_dir: Path, *path: str, **options: Any) -> list[Entry]:
    found = timeline(analysis.load(run_dir), **options)
    return [entry for entry in found if entry.track.path == ("a, seed 3", *path)]


def _told(entries: list[Entry]) -> list[tuple[Any, ...]]:
    told: list[tuple[Any, ...]] = []
    for entry in entries:
        match entry:
            case Slice():
                told.append((entry.start_s, entry.end_s, entry.name))
            case Mark():
                told.append((entry.time_s, entry.name))
            case Sample():
                told.append((entry.time_s, entry.value))
    return told


# -- what is drawn -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("track", "told"),
    [
        ("accuracy", [(0.0, 90.0), (30.0, 40.0)]),
        ("data", [(0.0, 30.0, "at the start"), (30.0, 100.0, "new 1 of 2")]),
        ("model", [(0.0, 50.0, "m0 on device"), (50.0, 100.0, "m1 on device")]),
        ("memory used", [(10.0, 5.0), (20.0, 0.0)]),
        ("uplink offered", [(0.0, 1000.0), (50.0, 500.0)]),
        (
            "compute",
            [
                (10.0, 20.0, "train"),
                (15.0, 25.0, "score"),
                (25.0, 26.0, "train (killed: memory)"),
                (40.0, "train (out of memory)"),
                (90.0, 100.0, "train (running)"),
            ],
        ),
        (
            "uplink",
            [
                (20.0, 30.0, "weights to cloud"),
                (25.0, 35.0, "data to cloud"),
                (40.0, 45.0, "weights (cut: outage) to cloud"),
                (95.0, 100.0, "weights (in flight) to cloud"),
            ],
        ),
        ("downlink", [(36.0, 38.0, "weights from cloud")]),
        ("received", [(55.0, "weights from y")]),
    ],
)
def test_each_track_of_a_device_holds_what_the_tables_say(run_dir: Path, track: str, told: list[Any]) -> None:
    assert _told(_entries(run_dir, "x", track)) == told


def test_the_cloud_shows_its_jobs_and_what_it_sent_and_received(run_dir: Path) -> None:
    assert _told(_entries(run_dir, "cloud", "compute")) == [(0.0, "pretrain (before time 0)")]
    assert _told(_entries(run_dir, "cloud", "received")) == [(30.0, "weights from x"), (35.0, "data from x")]
    assert _told(_entries(run_dir, "cloud", "sent")) == [(36.0, "weights to x")]


def test_times_away_are_drawn(run_dir: Path) -> None:
    assert _told(_entries(run_dir, "y", "connection")) == [(60.0, 70.0, "offline")]
    assert _told(_entries(run_dir, "x", "connection")) == []


def test_details_are_those_that_were_measured(run_dir: Path) -> None:
    train, *_ = _entries(run_dir, "x", "compute")
    assert isinstance(train, Slice)
    assert train.arguments["samples"] == 16
    assert type(train.arguments["samples"]) is int
    assert "batch_size" not in train.arguments
    assert "cause" not in train.arguments


def test_arrows_lead_from_where_something_was_sent_to_where_it_arrived(run_dir: Path) -> None:
    arrows: dict[int, list[tuple[str, str, float]]] = defaultdict(list)
    for entry in timeline(analysis.load(run_dir), learners=["a"]):
        if isinstance(entry, Slice | Mark):
            at_s = entry.start_s if isinstance(entry, Slice) else entry.time_s
            for end, number in (("from", entry.arrow_out), ("to", entry.arrow_in)):
                if number is not None:
                    arrows[number].append((end, "/".join(entry.track.path[1:]), at_s))
    assert sorted(sorted(ends) for ends in arrows.values()) == [
        [("from", "cloud/sent", 36.0), ("to", "x/downlink", 36.0)],
        [("from", "x/uplink", 20.0), ("to", "cloud/received", 30.0)],
        [("from", "x/uplink", 25.0), ("to", "cloud/received", 35.0)],
        [("from", "y/uplink", 50.0), ("to", "x/received", 55.0)],
    ]


def test_all_learners_and_the_first_seed_are_drawn_unless_others_are_chosen(run_dir: Path) -> None:
    def worlds(**options: Any) -> list[str]:
        return list(dict.fromkeys(entry.track.path[0] for entry in timeline(analysis.load(run_dir), **options)))

    run = WrittenRun(run_dir.parent / "other", learners=["a", "b"], seeds=[3, 4])
    for world in run.worlds:
        run[world].online("x", 0.0)
        run[world].accuracy("x", 0.0, 50)
    run_dir = run.close()
    assert worlds() == ["a, seed 3", "b, seed 3"]
    assert worlds(learners=["b"], seeds=[3, 4]) == ["b, seed 3", "b, seed 4"]


def test_chosen_devices_come_with_the_cloud(run_dir: Path) -> None:
    nodes = {entry.track.path[1] for entry in timeline(analysis.load(run_dir), devices=["x"])}
    assert nodes == {"x", "cloud"}
    received = [entry for entry in timeline(analysis.load(run_dir), devices=["y"]) if entry.track.path[1] == "cloud"]
    assert _told(received) == [(0.0, "pretrain (before time 0)")]


def test_what_a_gateway_offers_is_drawn(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run["a", 0].online("x", 0.0, cause="start")
    run["a", 0].add("environment", device="shop", resource="uplink", time_s=0.0, value=5.0)
    (drawn,) = timeline(analysis.load(run.close()))
    assert (drawn.track.path[1:], drawn.value) == (("shop", "uplink offered"), 5.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learners": ["c"]}, "no learner 'c'; it has a, b"),
        ({"seeds": [9]}, "no seed 9; it has 3, 4"),
        ({"devices": ["z"]}, "no device 'z'; it has x, y"),
    ],
)
def test_what_the_run_does_not_have_is_told(run_dir: Path, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(timeline(analysis.load(run_dir), **options))


# -- lanes ---------------------------------------------------------------------------------------------------------

SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda span: (span[0], span[0] + span[1])))


@given(SPANS)
def test_lanes_never_overlap_and_are_no_more_than_needed(spans: list[tuple[int, int]]) -> None:
    track = Track(("w", "d", "uplink"))
    placed = [entry for entry in in_lanes(Slice(track, *span, "t") for span in spans) if isinstance(entry, Slice)]
    assert sorted((entry.start_s, entry.end_s) for entry in placed) == sorted(spans)
    for _, lane in itertools.groupby(sorted(placed, key=lambda e: (e.track.lane, e.start_s)), lambda e: e.track.lane):
        for one, other in itertools.pairwise(lane):
            assert one.end_s <= other.start_s
    at_once = max((sum(a <= moment < b for a, b in spans) for moment in range(71)), default=0)
    assert len({entry.track.lane for entry in placed}) == at_once


# -- the file ------------------------------------------------------------------------------------------------------


def test_without_the_package_the_command_says_what_to_install(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "perfetto", None)
    for name in [name for name in sys.modules if name.startswith("perfetto.")]:
        monkeypatch.delitem(sys.modules, name)
    result = CliRunner().invoke(app, ["trace", str(run_dir)])
    assert result.exit_code == 2
    assert "pip install 'edgesim[trace]'" in result.stderr
    assert not list(run_dir.glob("*pftrace*"))


def _read_back(file: Path) -> tuple[dict[int, Any], list[tuple[int, Any]]]:
    """The tracks by number, and the events in order of time, as Perfetto sorts them (stably)."""
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

    trace = Trace()
    trace.ParseFromString(file.read_bytes())
    assert {packet.trusted_packet_sequence_id for packet in trace.packet} == {1}
    tracks = {}
    events = []
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            assert packet.track_descriptor.uuid not in tracks
            tracks[packet.track_descriptor.uuid] = packet.track_descriptor
        else:
            assert packet.track_event.track_uuid in tracks  # described before it is used
            events.append((packet.timestamp, packet.track_event))
    return tracks, sorted(events, key=lambda event: event[0])


def test_the_file_read_back_holds_the_timeline(run_dir: Path) -> None:
    pytest.importorskip("perfetto")
    result = CliRunner().invoke(app, ["trace", str(run_dir), "--learner", "a"])
    assert result.exit_code == 0, result.output
    tracks, events = _read_back(run_dir / "run.pftrace")

    def path(uuid: int) -> str:
        track = tracks[uuid]
        return (f"{path(track.parent_uuid)}/" if track.parent_uuid else "") + str(track.name)

    paths = {uuid: path(uuid) for uuid in tracks}
    kinds = next(event for _, event in events)
    own = [(at, event) for at, event in events if paths[event.track_uuid] == "a, seed 3/x/uplink"]
    assert [(at, event.name) for at, event in own if event.type == kinds.TYPE_SLICE_BEGIN] == [
        (20_000_000_000, "weights to cloud"),
        (25_000_000_000, "data to cloud"),
        (40_000_000_000, "weights (cut: outage) to cloud"),
        (95_000_000_000, "weights (in flight) to cloud"),
    ]
    assert len({event.track_uuid for _, event in own}) == 2  # two at once: two lanes of one name
    accuracy = [(at, e.double_counter_value) for at, e in events if paths[e.track_uuid] == "a, seed 3/x/accuracy"]
    assert accuracy == [(0, 90.0), (30_000_000_000, 40.0)]
    (counter,) = [track.counter for uuid, track in tracks.items() if paths[uuid] == "a, seed 3/x/accuracy"]
    assert counter.unit_name == "%"
    orders = {track.name: track.sibling_order_rank for uuid, track in tracks.items() if paths[uuid].count("/") == 1}
    assert orders == {"x": 0, "y": 1, "cloud": 2}

    flows_out = Counter(number for _, event in events for number in event.flow_ids)
    flows_in = Counter(number for _, event in events for number in event.terminating_flow_ids)
    assert flows_out == flows_in
    assert set(flows_out.values()) == {1}

    depth: Counter[int] = Counter()
    for _, event in events:
        if event.type == kinds.TYPE_SLICE_BEGIN:
            depth[event.track_uuid] += 1
            assert depth[event.track_uuid] == 1
        elif event.type == kinds.TYPE_SLICE_END:
            depth[event.track_uuid] -= 1
    assert set(depth.values()) == {0}


def test_writing_twice_gives_the_same_bytes(run_dir: Path) -> None:
    pytest.importorskip("perfetto")
    files = [run_dir / name for name in ("one", "two")]
    for file in files:
        written = write_trace(timeline(analysis.load(run_dir)), file)
        assert written.slices > 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_in_which_nothing_happened_gives_a_file(tmp_path: Path) -> None:
    pytest.importorskip("perfetto")
    run_dir = WrittenRun(tmp_path / "run").close()
    assert CliRunner().invoke(app, ["trace", str(run_dir), "-o", str(tmp_path / "t.pftrace")]).exit_code == 0
    assert (tmp_path / "t.pftrace").read_bytes() == b""
