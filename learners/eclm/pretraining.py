"""What happens in the cloud before time 0: a network is made modular and trained on the proxy data (section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgesim import Method, Model, Offline, UserError
from edgesim.scenario.distributions import own
from edgesim.seeds import stream

from . import architectures, derivation
from .architectures import Held, Modularisation, everything, modularise, modules_per_layer, with_held
from .assignment import default_kappa1, least_kappa1
from .derivation import Resource
from .params import ECLMParams

if TYPE_CHECKING:
    from .aggregation import Importance


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What the cloud has at time 0, and what devices have.

    Attributes
    ----------
    cloud
        The modular network with all modules.
    selector
        Its selector alone: on every device.
    initial, held
        The model that every device serves, and its modules.
    max_ratios
        For each device, parameters of its sub-models over those of the whole, at most.
    """

    cloud: Model
    selector: Model
    initial: Model
    held: Held
    max_ratios: tuple[float, ...]


def prepare(offline: Offline, params: ECLMParams) -> Prepared:
    """Modularise, train end to end with load balancing, enhance abilities, cut out the first sub-model.

    Raises
    ------
    UserError
        The network has no repeated blocks, or sub-tasks are not what the data can tell.
    """
    from . import work

    how = Modularisation(
        modules=params.modules,
        layers=params.layers,
        ratio=params.ratio,
        min_width=params.min_width,
        k=params.active,
        embedding=params.embedding,
    )
    full = modularise(offline.architecture, how)
    if params.charge == "active":
        full = architectures.charged_by_active(full)
    cloud = offline.untrained(full, tag="modular")
    if params.warm_start:
        cloud = offline.derive(
            [cloud, offline.pretrained()],
            work.inherit,
            full,
            name="inherited",
            full=full,
        )
    if len(offline.proxy):
        cloud = _trained(offline, params, cloud)
    alone = architectures.selector_alone(full)
    selector = offline.derive([cloud], work.take_selector, alone, name="selector", selector=alone)
    held = everything(full)
    ratios = _max_ratios(offline, params)
    if params.initial == "sub_model":
        held = _for_the_proxy_data(offline, params, selector, cloud, min(ratios))
    target = with_held(full, held, "frozen" if params.selector == "keep" else "trained")
    initial = offline.derive(
        [cloud], work.extract, target, name="sub-model", have=everything(full), want=held, target=target
    )
    return Prepared(cloud, selector, initial, held, ratios)


def _trained(offline: Offline, params: ECLMParams, cloud: Model) -> Model:
    from . import work

    full = cloud.architecture
    training = offline.pretraining.but(epochs=params.epochs_end_to_end)
    balancing = {"balance": params.balance, "balance_weight": params.balance_weight}
    cloud = offline.train(
        cloud, training, name="end-to-end", method=Method(work.train_end_to_end, parameters=balancing)
    )
    epochs = params.epochs_enhancing
    if epochs is None:
        epochs = -(-training.epochs // 2)
    if not epochs:
        return cloud
    tasks, of_samples = _tasks(offline, params)
    kappa2 = params.kappa2 or params.active
    if params.kappa1 is not None and params.kappa1 < (least := least_kappa1(max(tasks) + 1, params.modules)):
        offline.remarks.append(
            f"kappa1 is {least}, not {params.kappa1}: {max(tasks) + 1} sub-tasks need a module each, "
            f"and a layer has {params.modules}"
        )
    alone = architectures.selector_alone(full)
    plan = offline.score(
        offline.derive([cloud], work.take_selector, alone, name="end-to-end selector", selector=alone),
        work.plan_enhancement,
        name="plan",
        modules_per_layer=modules_per_layer(full),
        tasks=tasks,
        of_samples=of_samples,
        kappa1=params.kappa1 or default_kappa1(max(tasks) + 1, params.modules, kappa2),
        kappa2=kappa2,
    )
    wanted = {"tasks": tasks, "of_samples": of_samples, "weight": params.enhancing_weight}
    training = training.but(epochs=epochs, learning_rate=params.enhancing_learning_rate)
    return offline.train(cloud, training, name="enhanced", method=Method(work.enhance, (plan,), wanted))


def _tasks(offline: Offline, params: ECLMParams) -> tuple[list[int], bool]:
    """The sub-task of each class, or of each proxy sample; and whether it is of each sample."""
    classes = offline.architecture.classes
    if params.tasks == "classes":
        return list(range(classes)), False
    if params.tasks == "groups":
        groups = offline.environment.dataset.group
        if groups is None:
            raise UserError("eclm: tasks: groups needs data with natural groups, such as who a sample is of")
        _, numbers = np.unique(groups[offline.proxy.indices], return_inverse=True)
        return [int(number) for number in numbers], True
    of_class = {label: task for task, labels in enumerate(params.tasks) for label in labels}
    if set(of_class) != set(range(classes)):
        raise UserError(f"eclm: tasks must name each of the {classes} classes once, from 0 on")
    return [of_class[label] for label in range(classes)], False


def _max_ratios(offline: Offline, params: ECLMParams) -> tuple[float, ...]:
    environment = offline.environment
    numbers = stream(environment.seed, "learner", "eclm", "max_ratio").random(environment.scenario.device_count)
    return tuple(own(params.max_ratio, float(number)) for number in numbers)


def _for_the_proxy_data(offline: Offline, params: ECLMParams, selector: Model, cloud: Model, max_ratio: float) -> Held:
    """The modules that matter most for the proxy data, within a size that every device may have."""
    from . import work
    from .costs import module_costs

    full = cloud.architecture
    count = modules_per_layer(full)
    if len(offline.proxy) and not params.surrogate:
        importance = offline.score(selector, work.importance, name="importance", modules_per_layer=count).value()
    else:
        importance = drawn_importance(stream(offline.environment.seed, "learner", "eclm", "surrogate"), count)
    parameters = module_costs(full, offline.pretraining.optimizer, "frozen").parameters
    total = parameters.always + sum(float(layer.sum()) for layer in parameters.modules)
    size = Resource(parameters.always, parameters.modules, max_ratio * total)
    try:
        return derivation.derive([np.array(layer) for layer in importance], {"size": size})
    except derivation.DoesNotFit as error:
        raise UserError(f"eclm: max_ratio {max_ratio:g} is too small for this network: {error}") from error


def drawn_importance(random: np.random.Generator, modules: Sequence[int]) -> Importance:
    """What stands in for importance where no selector is asked: uniform draws over the simplex."""
    return tuple(tuple(random.dirichlet(np.ones(count)).tolist()) for count in modules)
