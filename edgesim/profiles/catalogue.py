"""The catalogue of device profiles. Data: each number stands beside where it comes from.

``basis`` says how much a number can be trusted:

``calibrated``
    fitted by ``edgesim.profiles.calibration`` to training times or memory that a paper measured on the device;
``measured``
    measured on such a device by the source;
``data sheet``
    the manufacturer's;
``derived``
    computed from one of those, as the source says;
``assumed``
    a plausible value that nobody measured: give your own where it matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Basis = Literal["calibrated", "measured", "data sheet", "derived", "assumed"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One number: the quantity as a scenario writes it, how it came to be, and from where."""

    value: str
    basis: Basis
    source: str


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """One device.

    Attributes
    ----------
    name
        What a scenario calls it.
    doc
        What it is.
    compute
        Effective training throughput: counted FLOPs (backward twice forward) over measured time, not the peak.
    memory
        What is free for training jobs.
    memory_overhead
        What a training job needs on top of weights, gradients, optimizer state and saved activations.
    step_overhead
        Time per training step that does not depend on the model.
    idle, computing, radio
        Power while it is on, on top of that while it computes, and on top of that while it sends or receives.
    per_byte
        Energy of a byte sent or received, the mean of both directions.
    note
        What the memory overhead includes, and other things to know.
    """

    name: str
    doc: str
    compute: Fact
    memory: Fact
    memory_overhead: Fact
    step_overhead: Fact
    idle: Fact
    computing: Fact
    radio: Fact
    per_byte: Fact
    note: str = ""

    @property
    def group_keys(self) -> dict[str, object]:
        """What it says of a device group, under the keys of a scenario."""
        return {
            "compute": self.compute.value,
            "memory": self.memory.value,
            "memory_overhead": self.memory_overhead.value,
            "step_overhead": self.step_overhead.value,
            "power": {
                "idle": self.idle.value,
                "compute": self.computing.value,
                "radio": self.radio.value,
                "per_byte": self.per_byte.value,
            },
        }

    @property
    def cloud_keys(self) -> dict[str, object]:
        """What it says of the cloud, under the keys of a scenario."""
        return {"compute": self.compute.value, "memory": self.memory.value}

    @property
    def facts(self) -> dict[str, Fact]:
        """All its numbers, by name."""
        names = (
            "compute",
            "memory",
            "memory_overhead",
            "step_overhead",
            "idle",
            "computing",
            "radio",
            "per_byte",
        )
        return {name: getattr(self, name) for name in names}


_NEBULA = "Nebula (ICPP 2024, doi 10.1145/3673038.3673120)"
_FIT = "edgesim.profiles.calibration, full-model rows of Fig. 8 and 9 of " + _NEBULA
_HUANG = "Huang et al., A Close Examination of Performance and Power Characteristics of 4G LTE Networks (MobiSys 2012)"

# Table 4 of Huang et al.: power = a_up x up + a_down x down + b, a in mW per Mbit/s, b in mW; measured on a phone.
_WIFI_POWER = Fact("133 mW", "measured", f"Wi-Fi, b = 132.86 mW: {_HUANG}, Table 4")
_WIFI_BYTE = Fact(
    "1.68 uJ/B",
    "derived",
    f"Wi-Fi, mean of 283.17 (up) and 137.01 (down) mW per Mbit/s: {_HUANG}, Table 4",
)
_LTE_POWER = Fact("1.29 W", "measured", f"LTE, b = 1288.04 mW: {_HUANG}, Table 4")
_LTE_BYTE = Fact(
    "1.96 uJ/B",
    "derived",
    f"LTE, mean of 438.39 (up) and 51.97 (down) mW per Mbit/s: {_HUANG}, Table 4",
)
_NO_RADIO = Fact("0 W", "assumed", "on a wire; the interface's power is part of idle")
_NO_BYTE = Fact("0 J/B", "assumed", "on a wire")


def _phone(name: str, share: str, latency_ms: int, speed: str, ram: str, free: str, load: str) -> DeviceProfile:
    """A class of phones by its place in the latencies and the memory sizes of the AI Benchmark."""
    return DeviceProfile(
        name=name,
        doc=f"A phone at the {share} of the phones in the AI Benchmark, on LTE.",
        compute=Fact(
            speed,
            "derived",
            f"MobileNetV3-Large (0.438 GFLOP forward) in {latency_ms} ms: {share} of phones in Fig. 2 of {_NEBULA}, "
            "which took it from ai-benchmark.com; training is assumed to run at the throughput of inference",
        ),
        memory=Fact(free, "assumed", f"a quarter of {ram}, the median of phones of that rank at ai-benchmark.com"),
        memory_overhead=Fact("50 MB", "assumed", "a mobile training runtime; nothing measured"),
        step_overhead=Fact("10 ms", "assumed", "the order of the Jetson Nano's"),
        idle=Fact(
            "270 mW",
            "measured",
            "Carroll and Heiser, An Analysis of Power Consumption in a Smartphone (USENIX ATC 2010): 268.8 mW idle; "
            "an old phone",
        ),
        computing=Fact(load, "assumed", "sustained load on the large cores within a phone's thermal budget"),
        radio=_LTE_POWER,
        per_byte=_LTE_BYTE,
    )


_PROFILES = (
    DeviceProfile(
        name="raspberry-pi-4b",
        doc="Raspberry Pi 4B with 2 GB, training on its CPU, on Wi-Fi.",
        compute=Fact("10.2 GFLOP/s", "calibrated", _FIT),
        memory=Fact("1.6 GB", "assumed", f"2 GB ({_NEBULA}, Fig. 2) less 0.4 GB for the system and other processes"),
        memory_overhead=Fact("8.61 MB", "calibrated", _FIT),
        step_overhead=Fact("42.8 ms", "calibrated", _FIT),
        idle=Fact("2.7 W", "measured", "J. Geerling, pidramble.com, Power Consumption Benchmarks: 540 mA at 5 V"),
        computing=Fact(
            "3.7 W",
            "derived",
            "J. Geerling, pidramble.com, Power Consumption Benchmarks: 1280 mA at 5 V with four cores busy, less idle",
        ),
        radio=_WIFI_POWER,
        per_byte=_WIFI_BYTE,
        note=(
            "The memory overhead does not include the framework: the paper measured 0.017 GB for the whole training "
            "of the small network, less than PyTorch alone takes."
        ),
    ),
    DeviceProfile(
        name="jetson-nano",
        doc="NVIDIA Jetson Nano with 4 GB, training on its GPU, in the 10 W mode, on Wi-Fi.",
        compute=Fact("79.1 GFLOP/s", "calibrated", _FIT),
        memory=Fact("3 GB", "assumed", f"4 GB ({_NEBULA}, Fig. 2) less 1 GB for the system; GPU and CPU share it"),
        memory_overhead=Fact("232 MB", "calibrated", _FIT),
        step_overhead=Fact("9.94 ms", "calibrated", _FIT),
        idle=Fact("2 W", "assumed", "published readings lie between 1.25 W (module alone) and 3 W (with peripherals)"),
        computing=Fact(
            "8 W", "derived", "NVIDIA's power mode MAXN has a budget of 10 W (921.6 MHz GPU), less 2 W of idle"
        ),
        radio=_WIFI_POWER,
        per_byte=_WIFI_BYTE,
        note="The memory overhead includes what the framework holds on the GPU: the paper measured 0.2 GB at least.",
    ),
    DeviceProfile(
        name="jetson-xavier-nx",
        doc="NVIDIA Jetson Xavier NX with 8 GB (the A203 mini PC of ECAvg), training on its GPU, in the 15 W mode.",
        compute=Fact(
            "283 GFLOP/s",
            "derived",
            "the Jetson Nano's, times the peaks in 32 bits: 384 cores x 2 x 1100 MHz = 845 GFLOP/s (NVIDIA data sheet "
            "DA-09366-001) over 128 cores x 2 x 921.6 MHz = 236 GFLOP/s",
        ),
        memory=Fact("6.5 GB", "assumed", "8 GB less 1.5 GB for the system; GPU and CPU share it"),
        memory_overhead=Fact("232 MB", "derived", "the Jetson Nano's: same framework"),
        step_overhead=Fact("9.94 ms", "derived", "the Jetson Nano's; its faster CPU would make it less"),
        idle=Fact("4 W", "assumed", "a mini PC with its carrier board"),
        computing=Fact("11 W", "derived", "NVIDIA's 15 W power mode, less 4 W of idle"),
        radio=_WIFI_POWER,
        per_byte=_WIFI_BYTE,
        note="Nothing here was measured on the device.",
    ),
    _phone("phone-high", "fastest tenth", 46, "9.52 GFLOP/s", "8 GB", "2 GB", "4 W"),
    _phone("phone-mid", "median", 157, "2.79 GFLOP/s", "6 GB", "1.5 GB", "3 W"),
    _phone("phone-low", "slowest tenth", 591, "741 MFLOP/s", "3 GB", "750 MB", "2 W"),
    DeviceProfile(
        name="laptop",
        doc="A laptop with four cores and AVX2, training on its CPU, on Wi-Fi.",
        compute=Fact(
            "100 GFLOP/s",
            "derived",
            "4 cores x 2.8 GHz x 32 FLOP per cycle = 358 GFLOP/s, times 28 %: PyTorch 2.13 trains ResNet-18 and VGG-16 "
            "on 32x32 images in batches of 16 at 25 to 35 % of the peak of a server core",
        ),
        memory=Fact("8 GB", "assumed", "half of 16 GB"),
        memory_overhead=Fact("300 MB", "assumed", "a Python process that has imported PyTorch"),
        step_overhead=Fact("2 ms", "assumed", "calls of some hundred kernels at some microseconds each"),
        idle=Fact("8 W", "assumed", "screen dimmed"),
        computing=Fact("25 W", "assumed", "a processor of the 15 to 28 W class with its memory"),
        radio=_WIFI_POWER,
        per_byte=_WIFI_BYTE,
    ),
    DeviceProfile(
        name="cloud-gpu",
        doc="One NVIDIA RTX 3090 in a server (the GPU of Nebula's simulation), training in 32 bits.",
        compute=Fact(
            "12.6 TFLOP/s",
            "derived",
            "35.6 TFLOP/s in 32 bits (NVIDIA GA102 whitepaper), times 35 %: the share of its 71 TFLOP/s in 16 bits "
            "that 1027 images/s of ResNet-50 at batch 64 are (24.5 GFLOP each; tf_cnn_benchmarks at server-gear.com)",
        ),
        memory=Fact("23 GB", "derived", "24 GB (data sheet) less 1 GB for the context"),
        memory_overhead=Fact("0 B", "assumed", "the context is left out of its memory"),
        step_overhead=Fact("0 s", "assumed", "the cloud has none; small models would need about 10 ms a step"),
        idle=Fact("100 W", "assumed", "GPU and its share of a server"),
        computing=Fact("350 W", "data sheet", "NVIDIA: graphics card power of the RTX 3090"),
        radio=_NO_RADIO,
        per_byte=_NO_BYTE,
    ),
)

PROFILES: Mapping[str, DeviceProfile] = {profile.name: profile for profile in _PROFILES}
"""All profiles by name."""
