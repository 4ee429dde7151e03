"""What holds for all tests."""

from hypothesis import settings

# How long an example takes says something about the machine, and nothing about the code: speed is benchmarks' business.
settings.register_profile("edgesim", deadline=None)
settings.load_profile("edgesim")
