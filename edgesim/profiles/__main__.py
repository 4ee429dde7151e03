"""``python -m edgesim.profiles`` prints the page on device profiles, ``docs/profiles.md``."""

from edgesim.profiles.page import documentation

if __name__ == "__main__":
    print(documentation(), end="")
