"""``python -m analysis`` prints the page that defines the metrics, ``docs/metrics.md``."""

from analysis.metrics import documentation

if __name__ == "__main__":
    print(documentation(), end="")
