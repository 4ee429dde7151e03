"""The forms of a quantity over time: what is written, what becomes of it, and that writing it back says the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edgesim.scenario import BytesPerSecondSignal, BytesSignal, DeviceGroup
from edgesim.scenario.signal_specs import Own, SignalSpec
from edgesim.signals import Deferred, Signal
from edgesim.testing import tiny_scenario

DATA_RATE: TypeAdapter[Any] = TypeAdapter(BytesPerSecondSignal)
MEMORY: TypeAdapter[Any] = TypeAdapter(BytesSignal)
FROM_FILE = {"from_file": True}


def real_data() -> Path | None:
    """Where recorded traces are, if they are."""
    places = [os.environ.get("EDGESIM_DATA"), str(Path(__file__).parents[2] / "shared" / "data")]
    return next((Path(place) for place in places if place and Path(place, "traces").is_dir()), None)


def own(device: str = "d-0", number: float = 0.3, start: float = 0.25, file: float = 0.6, seed: int = 0) -> Own:
    return Own(device, "uplink", seed, 20.0, number, start, file)


def read(written: object) -> SignalSpec:
    spec: SignalSpec = DATA_RATE.validate_python(written, context=FROM_FILE)
    return spec


def written_back(spec: SignalSpec) -> object:
    return json.loads(DATA_RATE.dump_json(spec, context={"with_units": True}))


rates = st.integers(0, 10**8).map(lambda bits: f"{bits} bit/s")
times = st.integers(20, 10**6).map(lambda ms: f"{ms} ms")
forms = st.one_of(
    rates,
    st.lists(rates, min_size=2, max_size=2, unique=True).map(
        lambda pair: {"uniform": sorted(pair, key=lambda text: int(text.split()[0]))}
    ),
    st.fixed_dictionaries({"lognormal": st.fixed_dictionaries({"median": rates, "sigma": st.floats(0, 3)})}),
    st.fixed_dictionaries({"choice": st.lists(rates, min_size=1, max_size=4)}),
    st.fixed_dictionaries(
        {
            "markov": st.fixed_dictionaries(
                {"states": st.lists(rates, min_size=2, max_size=2), "mean_holding": times},
                optional={"transitions": st.just([[0, 1], [1, 0]])},
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "random_walk": st.fixed_dictionaries(
                {"low": st.just("1 kbit/s"), "high": st.just("1 Mbit/s"), "step": rates, "every": times},
                optional={"start": st.just("5 kbit/s")},
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "diurnal": st.fixed_dictionaries(
                {"low": st.just("1 kbit/s"), "high": rates.map(lambda text: text.replace(" bit/s", " Mbit/s"))},
                optional={
                    "peak": times,
                    "period": times,
                    "steps": st.integers(2, 9),
                    "noise": st.floats(0, 1),
                    "random_start": st.booleans(),
                },
            )
        }
    ).filter(lambda form: not form["diurnal"]["high"].startswith("0")),
    st.fixed_dictionaries(
        {"on_off": st.fixed_dictionaries({"on": rates, "mean_on": times, "mean_off": times}, optional={"off": rates})}
    ),
)


@given(forms)
def test_what_is_read_and_written_back_says_the_same(written: object) -> None:
    spec = read(written)
    assert read(written_back(spec)) == spec


@given(forms, st.floats(0, 0.999), st.floats(0, 0.999))
def test_every_form_gives_a_signal_and_the_same_one_each_time(written: object, number: float, start: float) -> None:
    spec = read(written)
    device = own(number=number, start=start)
    signal = spec.maker()(device)
    assert signal.integral(0.0, 20.0) >= 0.0
    again = spec.maker()(device)
    assert list(signal.pieces(0.0, 2.0)) == list(again.pieces(0.0, 2.0))
    if not spec.individual:
        assert spec.signal() == signal


def test_other_devices_and_other_seeds_get_other_signals_from_a_random_process() -> None:
    maker = read({"markov": {"states": ["1 Mbit/s", "2 Mbit/s"], "mean_holding": "5 s"}}).maker()
    signals = [maker(own()), maker(own(device="d-1")), maker(own(seed=1))]
    assert all(isinstance(signal, Deferred) for signal in signals)
    assert signals[0] != signals[1]
    assert signals[0] != signals[2]
    assert set(signals[0].values) == {125_000.0, 250_000.0}
    with pytest.raises(TypeError, match="another signal for each device"):
        read({"uniform": ["1 bit/s", "2 bit/s"]}).signal()


def test_a_text_trace_is_two_columns_in_the_units_of_its_format(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 8\n2 16\n4 0\n")
    form = {"trace": str(tmp_path / "a.txt"), "format": "seconds Mbit/s"}
    assert read(form).signal() == Signal.steps([0, 2, 4], [1e6, 2e6, 0.0])
    assert read({**form, "repeat": True}).signal() == Signal.steps([0, 2, 4], [1e6, 2e6, 0.0], period_s=6.0)
    assert read({**form, "format": "milliseconds kbit/s"}).signal() == Signal.steps([0, 0.002, 0.004], [1e3, 2e3, 0.0])
    assert read({**form, "scale": 0.5, "offset": "1 s"}).signal() == Signal.steps([0, 1, 3], [5e5, 1e6, 0.0])
    memory: SignalSpec = MEMORY.validate_python({**form, "format": "s MB"}, context=FROM_FILE)
    assert memory.signal() == Signal.steps([0, 2, 4], [8e6, 16e6, 0.0])


def test_a_mahimahi_trace_lets_1500_bytes_through_a_line_and_repeats_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "a.up").write_text("\n".join(str(ms) for ms in range(0, 1001, 100)) + "\n")
    signal = read({"mahimahi": str(tmp_path / "a.up")}).signal()
    assert signal.period_s == 1.0
    assert signal.integral(0.0, 10.0) == pytest.approx(10 * 11 * 1500)
    assert read({"mahimahi": str(tmp_path / "a.up"), "repeat": False}).signal().period_s is None


def test_a_parquet_trace_is_read_like_a_csv_trace(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"t": [0.0, 500.0], "mbit": [8.0, 16.0]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    keys = {"time": "t", "value": "mbit", "time_unit": "ms", "value_unit": "Mbit/s", "repeat": "1 s"}
    one, other = (read({form: str(tmp_path / f"a.{form}"), **keys}).signal() for form in ("csv", "parquet"))
    assert one == other == Signal.steps([0, 0.5], [1e6, 2e6], period_s=1.0)


def test_devices_start_at_their_own_point_of_a_recording_and_share_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{second} {second}\n" for second in range(100)))
    (tmp_path / "b.txt").write_text("0 1\n1 3\n")
    form = {"trace": str(tmp_path / "a.txt"), "format": "s B/s", "repeat": True, "random_start": True}
    maker = read(form).maker()
    first, second = maker(own(start=0.25)), maker(own(start=0.5))
    assert (first.value(0.0), second.value(0.0), first.value(80.0)) == (25.0, 50.0, 5.0)
    assert first._values is second._values  # type: ignore[attr-defined]  # a million devices hold one copy
    several = read({**form, "trace": [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], "random_start": False})
    assert several.individual
    assert several.maker()(own(file=0.6)).value(0.5) == 1.0
    assert several.maker()(own(file=0.4)).value(3.5) == 3.0
    assert read(written_back(several)) == several


def test_a_path_is_written_back_absolute(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 8\n2 16\n")
    context = {"from_file": True, "folder": tmp_path}
    spec = DATA_RATE.validate_python({"trace": "a.txt", "format": "s Mbit/s"}, context=context)
    assert spec.write(_dimension())["trace"] == str(tmp_path / "a.txt")
    with pytest.raises(ValidationError, match="no file"):
        read({"trace": "a.txt", "format": "s Mbit/s"})


def _dimension() -> Any:
    from edgesim.scenario.units import DATA_RATE as dimension

    return dimension


# Recorded in the field ------------------------------------------------------------------------------------------------

needs_data = pytest.mark.skipif(real_data() is None, reason="the recorded traces are not here")


@needs_data
def test_recorded_traces_of_every_kind_can_be_used() -> None:
    traces = (real_data() or Path()) / "traces"
    for form, mbit in (
        ({"mahimahi": str(traces / "mahimahi" / "ATT-LTE-driving-2016.down")}, 4.56),
        ({"mahimahi": str(traces / "mahimahi" / "Verizon-LTE-short.up")}, 5.95),
        ({"trace": str(traces / "lumos5g" / "4G" / "4g_trace_driving_50055_dr"), "format": "seconds Mbit/s"}, None),
        ({"trace": str(traces / "oboe" / "trace_3.txt"), "format": "milliseconds kbit/s"}, None),
        (
            {
                "csv": str(traces / "ucc5g" / "driving_a.csv"),
                "time": "time_s",
                "value": "dl_kbps",
                "value_unit": "kbit/s",
            },
            None,
        ),
    ):
        signal = read({**form, "repeat": True}).signal()
        assert signal.period_s is not None
        mean = signal.integral(0.0, signal.period_s) / signal.period_s
        assert mean > 1000.0
        if mbit is not None:
            assert mean * 8e-6 == pytest.approx(mbit, rel=0.01)


@needs_data
def test_recorded_populations_can_be_used() -> None:
    traces = (real_data() or Path()) / "traces"
    group = {"name": "phone", "count": 50, "downlink": "1 Mbit/s"}
    populations: list[dict[str, Any]] = [
        {
            "csv": str(traces / "devices_2000.csv"),
            "compute": {"column": "compute_ms_per_sample", "unit": "ms", "work": "600 MFLOP"},
            "memory": {"column": "ram_gb", "unit": "GB"},
            "uplink": {"column": "bandwidth_kbps", "unit": "kbit/s"},
        },
        {
            "csv": str(traces / "devices_ai_benchmark.csv"),
            "compute": {"column": "inference_ms", "unit": "ms", "work": "600 MFLOP"},
            "memory": {"column": "ram_gb", "unit": "GB"},
        },
        {
            "csv": str(traces / "network_speedtest_5g_us.csv"),
            "uplink": {"column": "uplink_mbps", "unit": "Mbit/s"},
            "latency": {"column": "latency_ms", "unit": "ms"},
        },
    ]
    rest = {"compute": "1 GFLOP/s", "memory": "1 GB", "uplink": "1 Mbit/s"}
    for population in populations:
        missing = {key: value for key, value in rest.items() if key not in population}
        scenario = tiny_scenario(devices=[{**group, **missing, "population": population}], drifts=[])
        assert len(next(iter(scenario.devices[0].population.rows().values()))) > 900


@needs_data
def test_recorded_availability_can_be_used() -> None:
    traces = (real_data() or Path()) / "traces"
    recording = {
        "csv": str(traces / "availability_fedscale_sample.csv"),
        "device": "client_id",
        "start": "active_start_s",
        "end": "active_end_s",
        "repeat": "6 d",
        "random_start": True,
    }
    group = {
        "name": "phone",
        "count": 50,
        "compute": "1 GFLOP/s",
        "memory": "1 GB",
        "uplink": "1 Mbit/s",
        "downlink": "1 Mbit/s",
        "availability": recording,
    }
    spec = DeviceGroup.model_validate(group)
    assert spec.availability is not None
    assert len(spec.availability.spans()) == 2  # type: ignore[union-attr]  # it is a recording
