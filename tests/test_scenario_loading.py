"""Reading scenario files: overrides, environment variables, anchors, paths, and writing them back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from edgesim.errors import ScenarioError
from edgesim.scenario import (
    Constant,
    NpzData,
    PositiveSeconds,
    Ratio,
    Recording,
    SampleRange,
    Scenario,
    Steps,
    load,
    minutes,
)
from edgesim.scenario.document import read_yaml, write_yaml
from edgesim.signals import Signal


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    period: PositiveSeconds | None = minutes(5)
    share: Ratio = 0.5
    init: Literal["average", "pretrained"] = "average"


LEARNERS: dict[str, Callable[[], type[BaseModel]]] = {"plain": lambda: _Params}

TEXT = """\
edgesim: 1
name: small
horizon: 30 min
data:
  source: digits
  proxy: {share: 20 %}
  partition: {kind: iid, samples: 50-150}
model: {name: mlp}
devices:
  - name: fast
    count: 2
    compute: 1 GFLOP/s
    memory: 256 MiB
    uplink: 20 Mbit/s
    downlink: 50 Mbit/s
cloud: {compute: 1 TFLOP/s, memory: 16 GiB, ingress: 1 Gbit/s, egress: 1 Gbit/s}
learners: {plain: {}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


def _load(path: Path, *overrides: str) -> Scenario:
    return load(path, overrides=overrides, learner_params=LEARNERS)


def _problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        _load(path, *overrides)
    return [str(problem) for problem in caught.value.problems]


def test_values_are_plain_si_numbers(file: Path) -> None:
    scenario = _load(file)
    assert scenario.horizon == 1800.0
    assert scenario.data.proxy.share == 0.2
    assert scenario.data.partition.samples == SampleRange(50, 150)
    assert scenario.devices[0].uplink == Constant(2.5e6)
    assert scenario.devices[0].memory.signal() == Signal.constant(2.0**28)
    assert scenario.learners[0].params == _Params()


def test_overrides_reach_items_by_number_and_by_name_and_make_what_is_missing(file: Path) -> None:
    scenario = _load(
        file,
        "devices.0.count=20",
        "devices.fast.uplink={steps: {0 s: 1 MB/s, 1 min: 0 B/s}}",
        "learners.plain.period=2 min",
        "learners.twice={learner: plain}",
        "evaluation.forgetting_views=2",
        "description=all = new",
    )
    assert scenario.device_count == 20
    assert scenario.devices[0].uplink == Steps((0.0, 60.0), (1e6, 0.0))
    assert scenario.learners[0].params == _Params(period=120.0)
    assert [spec.learner for spec in scenario.learners] == ["plain", "plain"]
    assert scenario.evaluation.forgetting_views == 2
    assert scenario.description == "all = new"


def test_a_mistake_in_an_override_points_to_the_override(file: Path) -> None:
    assert _problems(file, "devices.0.cout=3") == [
        "--set devices.0.cout=3: devices.0.cout: unknown key; did you mean 'count'?"
    ]


def test_an_override_of_a_mistake_mends_it(file: Path) -> None:
    file.write_text(TEXT.replace("30 min", "30 parsec"))
    assert _load(file, "horizon=1 h").horizon == 3600.0


def test_environment_variables_are_expanded_in_text(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESIM_TEST_NAME", "eve")
    file.write_text(TEXT + "description: ${EDGESIM_TEST_NAME} and $${NOBODY} pay $5\n")
    scenario = _load(file)
    assert scenario.description == "eve and ${NOBODY} pay $5"
    file.write_text(scenario.to_yaml())
    assert _load(file) == scenario


def test_a_relative_path_is_relative_to_the_scenario_and_absolute_afterwards(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file.parent / "data.npz").write_bytes(b"")
    (file.parent / "trace.csv").write_text("t,mbit\n0,8\n500,16\n")
    file.write_text(
        TEXT.replace("source: digits", "source: npz\n  path: data.npz\n  group_key: subject").replace(
            "uplink: 20 Mbit/s",
            "uplink: {csv: trace.csv, time: t, value: mbit, time_unit: ms, value_unit: Mbit/s, repeat: 1 s}",
        )
    )
    monkeypatch.chdir("/")
    scenario = _load(file)
    assert isinstance(scenario.data, NpzData)
    assert scenario.data.options["path"] == str(file.parent / "data.npz")
    assert scenario.data.options["group"] == "subject"
    uplink = scenario.devices[0].uplink
    assert isinstance(uplink, Recording)
    assert uplink.paths == (str(file.parent / "trace.csv"),)
    assert uplink.signal() == Signal.steps([0, 0.5], [1e6, 2e6], period_s=1.0)
    elsewhere = file.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "copy.yaml").write_text(scenario.to_yaml())
    assert _load(elsewhere / "copy.yaml") == scenario


def test_anchors_and_merge_keys_save_repetition(file: Path) -> None:
    extra = "  - {<<: *fast, name: other, count: 3}\ncloud:"
    file.write_text(TEXT.replace("  - name: fast", "  - &fast\n    name: fast").replace("cloud:", extra))
    first, other = _load(file).devices
    assert (other.name, other.count, other.uplink) == ("other", 3, first.uplink)


def test_a_mistake_in_a_merged_key_points_to_where_it_is_written(file: Path) -> None:
    extra = "  - {<<: *fast, name: other, count: 3}\ncloud:"
    text = TEXT.replace("  - name: fast", "  - &fast\n    name: fast").replace("cloud:", extra)
    file.write_text(text.replace("compute: 1 GFLOP/s", "compute: fast"))
    assert [problem.split(": ")[0] for problem in _problems(file)] == [f"{file}:13:14"] * 2


def test_learners_given_as_code_are_not_imported_and_not_checked(file: Path) -> None:
    file.write_text(TEXT.replace("{plain: {}}", "{mine: {learner: 'no.such.module:Learner', anything: [1]}}"))
    (spec,) = _load(file).learners
    assert spec.is_code
    assert spec.params == {"anything": [1]}


def test_only_the_learners_that_a_scenario_names_are_loaded(file: Path) -> None:
    def must_not_be_called() -> type[BaseModel]:
        raise AssertionError("loaded a learner that the scenario does not name")

    load(file, learner_params={**LEARNERS, "other": must_not_be_called})


def test_a_missing_file_is_told_without_a_line(tmp_path: Path) -> None:
    assert _problems(tmp_path / "none.yaml") == [f"{tmp_path / 'none.yaml'}: there is no such file"]


def test_problems_come_in_the_order_of_the_file(file: Path) -> None:
    file.write_text(TEXT.replace("iid", "idd").replace("30 min", "30").replace("count: 2", "count: 0"))
    lines = [int(problem.removeprefix(f"{file}:").split(":")[0]) for problem in _problems(file)]
    assert lines == [3, 7, 11]


def test_a_scenario_with_a_million_devices_loads_without_listing_them(file: Path) -> None:
    scenario = _load(file, "devices.0.count=1000000")
    assert scenario.blocks[0].stop == 1_000_000
    assert scenario.device_names()[999_999] == "fast-999999"


texts = st.text("ab1.0e-_:{}[]$#'\"& \n~é<*", max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)


@settings(deadline=None, max_examples=50)
@given(data=st.dictionaries(texts, plain, max_size=3))
def test_yaml_that_is_written_reads_back(data: dict[str, Any]) -> None:
    from edgesim.scenario.document import expand_variables

    document = read_yaml(write_yaml(data), "any.yaml")
    expand_variables(document, {})
    assert (document.data or {}) == data
    assert document.problems == []


quantities = st.integers(1, 10**12)


def _signal(units: list[str]) -> st.SearchStrategy[Any]:
    constant = st.builds("{} {}".format, quantities, st.sampled_from(units))
    steps = st.lists(constant, min_size=1, max_size=4).map(
        lambda values: {"steps": {f"{7 * index} s": value for index, value in enumerate(values)}}
    )
    return constant | steps | steps.map(lambda mapping: {**mapping, "repeat": "1 h"})


rates = _signal(["bit/s", "kbit/s", "Mbit/s", "KiB/s", "B/s"])
groups = st.fixed_dictionaries(
    {
        "count": st.integers(1, 9),
        "compute": _signal(["FLOP/s", "MFLOP/s"]),
        "memory": _signal(["B", "kB", "KiB", "MiB"]),
        "uplink": rates,
        "downlink": rates,
    },
    optional={
        "latency": st.just("3 ms"),
        "memory_overhead": st.just("1 MB"),
        "power": st.fixed_dictionaries({}, optional={"idle": st.just("3 mW"), "per_byte": st.just("7 nJ/bit")}),
        "outages": st.just([{"at": "1 min", "for": "30 s"}, {"at": "2 min", "for": "10 s", "every": "3 min"}]),
        "away": st.just([{"at": "1 min", "for": "30 s"}]),
        "requests": _signal(["/s", "/min"]),
        "arrival": st.just({"rate": "3 /h", "buffer": 500}),
    },
)
common = {
    "at": st.just("3 min"),
    "devices": st.sampled_from(["all", {"share": "30 %"}, {"group": "g0"}, {"names": ["g0-0"]}]),
}
drifts = st.one_of(
    st.fixed_dictionaries({**common, "kind": st.just("label"), "classes": st.just([0, 3])}),
    st.fixed_dictionaries({**common, "kind": st.just("label"), "prior": st.just({0: 0.25, 3: 0.75})}),
    st.fixed_dictionaries({**common, "kind": st.just("label"), "add_classes": st.just([8])}),
    st.fixed_dictionaries(
        {**common, "kind": st.just("feature"), "transform": st.just("blur"), "severity": st.integers(1, 5)}
    ),
    st.fixed_dictionaries(
        {**common, "kind": st.just("feature"), "transform": st.just("rotation"), "amount": st.floats(-360, 360)}
    ),
    st.fixed_dictionaries(
        {**common, "kind": st.just("replacement"), "replace": st.just("7 %"), "every": st.just("100 s")}
    ),
)
sources: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"source": "digits"},
        {"source": "synthetic"},
        {"source": "synthetic", "shape": [1, 8, 8], "samples": 300, "classes": 10, "groups": 3},
    ]
)
partitions = st.sampled_from(
    [
        {"kind": "iid", "samples": 70},
        {"kind": "dirichlet", "alpha": 0.3, "samples": "50-90"},
        {"kind": "classes", "per_device": 2, "classes": [1, 2, 3], "samples": "50-90"},
    ]
)
models = st.sampled_from(
    [
        {"name": "mlp", "hidden": []},
        {"name": "mlp", "dropout": 0.5},
        {"name": "mymodule:make", "arguments": {"width": 3}},
    ]
)


sizes: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {"sample_bytes": "2 kB"}, {"codec_ratio": 0.3}])


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A random scenario as its file says it."""
    rate = draw(st.sampled_from(["0 /s", "1.7 /s"]))
    drawn = draw(st.lists(drifts, max_size=3))
    source = draw(sources)
    if source == {"source": "synthetic"}:
        drawn = [drift for drift in drawn if drift["kind"] != "feature"]  # vectors, where these make images brighter
    return {
        "edgesim": 1,
        "name": "random",
        "horizon": draw(st.sampled_from(["10 min", "1.1 h", "0.1 d"])),
        "seed": draw(st.integers(0, 2**40)),
        "data": {
            **source,
            "proxy": {"share": draw(st.floats(0.01, 0.9))},
            "partition": draw(partitions),
            "arrival": {"rate": rate, "labelled": draw(st.floats(0, 1)), "buffer": 200},
            **draw(sizes),
        },
        "model": draw(models),
        "devices": [
            {"name": f"g{i}", **group} for i, group in enumerate(draw(st.lists(groups, min_size=1, max_size=3)))
        ],
        "cloud": {"compute": "1 TFLOP/s", "memory": "1 GiB", "ingress": draw(rates), "egress": "3 Mbit/s"},
        "drifts": [{"name": f"d{i}", **drift} for i, drift in enumerate(drawn)],
        "learners": {
            "plain": draw(st.sampled_from([None, {}, {"period": None}, {"share": "12 %"}])),
            "again": {"learner": "plain", "period": "17 s"},
            "mine": {"learner": "my.module:Mine", "weights": [1, None, "x"]},
        },
    }


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(document=documents())
def test_a_resolved_scenario_written_as_yaml_loads_to_an_equal_one(tmp_path: Path, document: dict[str, Any]) -> None:
    path = tmp_path / "random.yaml"
    path.write_text(write_yaml(document))
    scenario = _load(path)
    path.write_text(scenario.to_yaml())
    assert _load(path) == scenario
