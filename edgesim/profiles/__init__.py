"""Device profiles: what known devices are made of, each number with its source, and how well that predicts."""

from edgesim.profiles.catalogue import PROFILES, DeviceProfile, Fact

__all__ = ["PROFILES", "DeviceProfile", "Fact"]
