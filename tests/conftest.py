"""What holds for all tests."""

import os

# Two workers share two cores: more threads than that wait for each other. Before torch is imported, and for what a test
# starts as well; jobs set the number of threads that they need themselves.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator

import pytest
from hypothesis import settings

from edgesim.jobs.cache import VARIABLE

# How long an example takes says something about the machine, and nothing about the code: speed is benchmarks' business.
settings.register_profile("edgesim", deadline=None)
settings.load_profile("edgesim")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own cache is neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield
