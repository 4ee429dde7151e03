"""Every installed learner keeps the contract."""

import pytest

from edgesim.learner import discover
from edgesim.testing import check_learner

VARIANTS = [
    ("on_device", {"trigger": "drift", "collect": "30 s", "start_from": "pretrained"}),
    ("cloud_only", {"serve": "cloud", "keep": "latest"}),
    ("ecavg", {"every": "5 min", "deadline": "2 min", "edge_start": "separate"}),
    ("ecavg", {"init": "pretrained", "edge_start": "shared"}),
]


@pytest.mark.parametrize("name", list(discover()))
def test_an_installed_learner_keeps_the_contract(name: str) -> None:
    check_learner(discover()[name].load())


@pytest.mark.parametrize(("name", "params"), VARIANTS)
def test_a_learner_keeps_the_contract_with_other_parameters(name: str, params: dict[str, object]) -> None:
    check_learner(discover()[name].load(), params)
