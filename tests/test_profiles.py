"""Device profiles: calibrated numbers are those of the committed fit, every number says where it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesim.profiles import PROFILES
from edgesim.profiles.calibration import LATENCY_S, MEMORY_BYTES, SUB_MODELS, TASKS, architecture, fit, fitted_rows
from edgesim.scenario.units import COMPUTE, ENERGY_PER_BYTE, POWER, SIZE, TIME, parse

DIMENSIONS = {
    "compute": COMPUTE,
    "memory": SIZE,
    "memory_overhead": SIZE,
    "step_overhead": TIME,
    "idle": POWER,
    "computing": POWER,
    "radio": POWER,
    "per_byte": ENERGY_PER_BYTE,
}


@pytest.mark.parametrize("name", PROFILES)
def test_every_number_of_a_profile_has_its_unit_and_its_source(name: str) -> None:
    facts = PROFILES[name].facts
    assert facts.keys() == DIMENSIONS.keys()
    for key, fact in facts.items():
        assert parse(fact.value, DIMENSIONS[key]) >= 0
        assert len(fact.source) > 8


@pytest.mark.parametrize("name", LATENCY_S)
def test_the_calibrated_numbers_are_those_of_the_fit(name: str) -> None:
    found, profile = fit(name), PROFILES[name]
    calibrated = {
        "compute": found.flops_per_s,
        "step_overhead": found.step_s,
        "memory_overhead": found.base_bytes,
    }
    assert {key for key, fact in profile.facts.items() if fact.basis == "calibrated"} == calibrated.keys()
    for key, value in calibrated.items():
        assert parse(profile.facts[key].value, DIMENSIONS[key]) == pytest.approx(value, rel=0.005)


@pytest.mark.parametrize("name", LATENCY_S)
def test_the_fit_is_the_least_squares_of_relative_errors(name: str) -> None:
    found = fit(name)

    def loss(speed: float, step: float) -> float:
        other = type(found)(name, found.flops_per_s * speed, found.step_s * step, found.base_bytes)
        return sum(row.error**2 for row in fitted_rows(other)[0])

    best = loss(1.0, 1.0)
    assert all(loss(speed, step) > best for speed, step in ((1.01, 1.0), (0.99, 1.0), (1.0, 1.01), (1.0, 0.99)))


def test_no_sub_model_row_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [fit(name) for name in LATENCY_S]
    for table in (LATENCY_S, MEMORY_BYTES):
        for device in table.values():
            for rows in device.values():
                for model in SUB_MODELS:
                    if model in rows:
                        monkeypatch.setitem(rows, model, 1e9)
    assert [fit(name) for name in LATENCY_S] == before


def test_the_largest_width_is_the_full_model() -> None:
    for task in TASKS:
        assert architecture(task, 1.0) == architecture(task)


@pytest.mark.slow
def test_the_page_is_the_one_that_edgesim_profiles_prints() -> None:
    from edgesim.profiles.page import documentation

    page = Path(__file__).parents[1] / "docs" / "profiles.md"
    assert page.read_text(encoding="utf-8") == documentation(), "run `python -m edgesim.profiles > docs/profiles.md`"
