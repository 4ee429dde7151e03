"""The grid of optimizers: what is held out for it, and what its page says of runs that were written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tuning
from written_runs import WrittenRun


def test_settings_are_chosen_without_a_look_at_the_test_samples(tmp_path: Path) -> None:
    x = np.arange(100, dtype=np.float32).reshape(100, 1)
    y = np.arange(100) % 10
    np.savez(tmp_path / "pictures.npz", x_train=x, y_train=y, x_test=x + 1000, y_test=y)
    file = tuning.without_tests(tmp_path / "pictures.npz", tmp_path / "held")
    assert file is not None
    with np.load(file) as held:
        assert (len(held["x_train"]), len(held["x_test"])) == (80, 20)
        together = np.concatenate([held["x_train"], held["x_test"]]).ravel()
        assert sorted(together.tolist()) == x.ravel().tolist()
        assert (held["x_test"].ravel() % 10 == held["y_test"]).all()


def test_people_are_one_pool_that_a_seed_divides(tmp_path: Path) -> None:
    np.savez(tmp_path / "people.npz", x_train=np.zeros((2, 1)), y_train=np.zeros(2), subject_test=np.zeros(1))
    assert tuning.without_tests(tmp_path / "people.npz", tmp_path / "held") is None


def test_a_method_whose_settings_are_all_done_has_a_row_with_the_cells_own_in_bold(tmp_path: Path) -> None:
    for method in ("on_device", "fedavg"):
        for place, setting in enumerate(tuning.GRID):
            for seed in (10, 11):
                if method == "fedavg" and place:
                    continue
                folder = tuning.Trial("eclm_cifar10_m5", method, setting, seed).folder(tmp_path)
                run = WrittenRun(folder, learners=[method], seeds=[seed])
                run[method, seed].accuracy("a", 0, 40 + 10 * place + seed - 10)
                run.close()
    said = tuning.page(tmp_path)
    assert "| `on_device` | 40.5 | 50.5 | **60.5** | 70.5 | 80.5 | 90.5 | 30.0 |" in said
    assert "| `fedavg`" not in said
    assert tuning.CELLS["eclm_cifar10_m5"]["title"] in said


@pytest.mark.parametrize("cell", tuning.TUNED)
def test_what_a_cell_uses_is_in_the_grid(cell: str) -> None:
    for method in tuning.METHODS:
        assert tuning.used_by(cell, method) in tuning.GRID
