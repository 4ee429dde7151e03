"""What can be chosen in ECLM. Where the paper does not say, the default is ours (and ``description`` tells)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from edgesim import TrainingParams, Trigger, minutes
from edgesim.scenario import PositiveSeconds, Ratio, Seconds
from edgesim.scenario.distributions import Choice, LogNormal, OwnQuantity, OwnRatio, Uniform
from edgesim.scenario.findings import wrong


class ECLMParams(TrainingParams):
    """What can be chosen."""

    # The modular network
    modules: int = Field(16, ge=2, description="Substitute modules a layer, one of them the residual module.")
    layers: int | None = Field(None, ge=1, description="Blocks that become module layers, from the last; default all.")
    ratio: Ratio = Field(0.25, gt=0, description="Hidden width of a module over its block's.")
    min_width: int = Field(2, ge=1, description="Fewest hidden channels of a module.")
    active: int = Field(4, ge=1, description="Modules that are active for a sample, a layer (k).")
    embedding: int = Field(32, ge=4, description="Width of the selector's embedding.")
    charge: Literal["held", "active"] = Field(
        "held",
        description="Charge time, memory and energy for the modules held (the paper), or for k a layer; budgets are "
        "for the modules held in any case.",
    )

    # Training in the cloud, before the start
    warm_start: bool = Field(True, description="Start from the pretrained network's weights, cut into modules (ours).")
    epochs_end_to_end: int | None = Field(
        None, ge=0, description="Passes over the proxy data with load balancing; by default as in `pretrain`."
    )
    balance: Literal["shazeer", "switch", "none"] = Field("shazeer", description="Form of the load-balancing loss.")
    balance_weight: float = Field(0.05, ge=0, description="Its weight.")
    epochs_enhancing: int | None = Field(
        None, ge=0, description="Passes of ability-enhancing fine-tuning; by default half as many; 0: without it."
    )
    enhancing_weight: float = Field(1.0, ge=0, description="Weight of the divergence from the targets.")
    enhancing_learning_rate: float | None = Field(
        None, gt=0, description="Step size of that fine-tuning; by default as in `pretrain`."
    )
    tasks: Literal["classes", "groups"] | tuple[tuple[int, ...], ...] = Field(
        "classes",
        description="Sub-tasks: each class, each natural group of the data, or sets of classes.",
    )
    kappa1: int | None = Field(
        None, ge=1, description="Most sub-tasks a module; by default ceil(1.5 sub-tasks kappa2 / modules)."
    )
    kappa2: int | None = Field(None, ge=1, description="Most modules a sub-task; by default `active`.")

    # Rounds
    period: PositiveSeconds = Field(minutes(5), description="Time between the starts of two rounds.")
    trigger: Trigger | None = Field(
        None, description="A device asks for a sub-model when its trigger fires, instead of every `period`."
    )
    collect: Seconds = Field(0.0, description="Wait after a trigger, to collect samples first.")
    participants: int | None = Field(
        None,
        ge=1,
        description="Devices sampled a round, among those that are online, free and have labelled samples; by default "
        "all.",
    )
    epochs: int = Field(3, ge=1, description="Passes over its samples on each device.")
    deadline: PositiveSeconds | None = Field(
        None,
        description="How long updates are waited for, after the start of a round or the first update; later ones "
        "count next time. By default for all of the round, or a minute.",
    )
    aggregation: Literal["round", "arrival"] = Field(
        "round", description="Merge the updates of a round together, or each as it comes."
    )
    mixing: float = Field(
        0.5,
        gt=0,
        le=1,
        description="With `arrival`: how far the cloud's shared parts move to an update's; modules less, where they "
        "matter less to the device than an even share.",
    )

    # Sub-models
    max_ratio: OwnRatio = Field(
        0.5,
        description="Parameters of a sub-model over those of all modules and shared parts, at most; perhaps another "
        "for each device, as the paper draws its budgets.",
    )
    transfer_budget: PositiveSeconds | None = Field(
        None, description="Time for a sub-model's way down and up at the present bandwidth, at most."
    )
    training_budget: PositiveSeconds | None = Field(
        None, description="Time for training it at the present speed, at most."
    )
    latency_budget: PositiveSeconds | None = Field(
        None, description="Time for serving one request with it at the present speed, at most."
    )
    initial: Literal["sub_model", "full"] = Field(
        "sub_model", description="What devices have at time 0: the sub-model for the proxy data, or all modules."
    )
    switch_every: PositiveSeconds | None = Field(
        None, description="How often a device checks whether a stored smaller sub-model suits its resources better."
    )
    levels: tuple[Ratio, ...] = Field(
        (0.5, 0.25),
        description="Parameters of the stored smaller sub-models over the sub-model's, at most; those that cannot be "
        "so small are left out.",
    )

    # Aggregation
    shared: Literal["average", "keep", "local"] = Field(
        "average",
        description="Shared parts: averaged by samples, kept as the cloud has them, or each device's own once it has "
        "trained (they do not travel then, and the cloud keeps what it has).",
    )
    statistics: Literal["average", "keep"] = Field(
        "average", description="Running statistics of batch norms: like their weights, or kept as the cloud has them."
    )
    selector: Literal["keep", "average"] = Field(
        "keep", description="The selector: frozen on devices, or trained there and averaged by samples."
    )

    # Ablations and costs
    local_training: bool = Field(True, description="Devices train what they get. Off: they ask for it again each time.")
    cloud: bool = Field(True, description="Devices ask the cloud each time. Off: once, then they train alone.")
    solve_flops: float = Field(1e6, ge=0, description="What one derivation in the cloud is charged.")
    surrogate: bool = Field(
        False, description="Draw importance at random instead of reading it: only for --timing-only."
    )

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if not all(share > 0 for share in _shares(self.max_ratio)):
            raise wrong("a sub-model has more than 0 % of the parameters", ("max_ratio",))
        if not self.local_training and not self.cloud:
            raise wrong("without local training and without the cloud nothing would ever change", ("cloud",))
        if isinstance(self.tasks, tuple):
            named = [label for task in self.tasks for label in task]
            if len(set(named)) < len(named) or any(not task for task in self.tasks) or not named:
                raise wrong("each class belongs to one sub-task, and no sub-task is empty", ("tasks",))
        return self


def _shares(ratio: OwnQuantity) -> tuple[float, ...]:
    """The values that a quantity which may be drawn is described by."""
    if isinstance(ratio, Uniform):
        return ratio.low, ratio.high
    if isinstance(ratio, LogNormal):
        return (ratio.median,)
    return ratio.values if isinstance(ratio, Choice) else (ratio,)
