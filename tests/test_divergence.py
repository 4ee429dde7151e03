"""Trainings that diverge are told in the tables; the run goes on, and accuracy is what it is."""

from pathlib import Path

import pytest

import analysis
from edgesim.simulation import run
from edgesim.tables import read_table
from edgesim.testing import tiny_scenario


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A learner whose first steps are far too large, beside one whose steps are not."""
    scenario = tiny_scenario(
        training={"learning_rate": 1e30},
        pretrain={"epochs": 2, "learning_rate": 0.05},
        learners={"on_device": {"trigger": {"every": "5 min"}}, "no_adaptation": {}},
    )
    return run(scenario, out=tmp_path_factory.mktemp("diverged") / "run")


def test_a_diverged_training_is_marked_and_has_no_loss(folder: Path) -> None:
    jobs = read_table(folder, "computations")
    trained = jobs[(jobs["kind"] == "train") & (jobs["status"] == "done")]
    assert len(trained) > 0
    assert (trained["diverged"] == 1).all()
    assert trained["loss"].isna().all()
    before = jobs[jobs["kind"] == "pretrain"]
    assert (before["diverged"] == 0).all()
    assert before["loss"].between(0, 10).all()


def test_what_is_no_training_has_neither(folder: Path) -> None:
    jobs = read_table(folder, "computations")
    others = jobs[~jobs["kind"].isin(["train", "pretrain"])]
    assert others[["loss", "diverged"]].isna().all(axis=None)


def test_the_run_goes_on_and_the_accuracy_of_such_a_model_is_that_of_guessing_one_class(folder: Path) -> None:
    accuracy = read_table(folder, "accuracy")
    late = accuracy[(accuracy["learner"] == "on_device") & (accuracy["cause"] == "deployment")]
    assert late["accuracy"].between(0, 1).all()
    assert late["loss"].isna().all()


def test_the_summary_counts_diverged_trainings_and_a_sentence_tells_them(folder: Path) -> None:
    summary = analysis.load(folder).summary()
    jobs = read_table(folder, "computations")
    assert summary.loc["on_device", "diverged"] == (jobs["diverged"] == 1).sum() > 0
    assert summary.loc["no_adaptation", "diverged"] == 0
    assert "Trainings that diverged" in analysis.compare([folder]).to_text(160)


def test_without_training_it_is_not_known_whether_it_would_diverge(tmp_path: Path) -> None:
    scenario = tiny_scenario(learners={"on_device": {"trigger": {"every": "5 min"}}, "no_adaptation": {}})
    run_dir = run(scenario, out=tmp_path / "timing", timing_only=True)
    assert read_table(run_dir, "computations")["diverged"].isna().all()
    assert analysis.load(run_dir).summary()["diverged"].isna().all()
