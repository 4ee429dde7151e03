"""Gives a modular network what its base network has learned: modules start as slices of the blocks they stand for.

Ours: the paper does not say what modules start from. Each shrunk module takes some of the block's hidden channels, all
channels are taken before one is taken twice, and the last layer is scaled so that the mean over modules is the block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgesim.models import Architecture, State

from .blocks import Block
from .layers import ModuleLayer
from .network import base_of, blocks_of
from .parts import network_of


def inherit(fresh: State, base: State, architecture: Architecture, seed: int) -> State:
    """Start a modular network from a trained base network.

    Parameters
    ----------
    fresh
        Initial weights of the modular network: what the base has no counterpart of stays as drawn (the selector, the
        residual modules).
    base
        Weights of the base network.
    architecture
        The modular network, all modules held.
    seed
        Of which module takes which channels.
    """
    network = network_of(architecture)
    blocks = blocks_of(base_of(architecture))
    chosen = dict(architecture.options)["blocks"]
    assert isinstance(chosen, tuple)
    state = dict(fresh)
    for name in fresh:
        if (of_base := name.removeprefix("network.")) in base and base[of_base].shape == fresh[name].shape:
            state[name] = base[of_base]
    generator = torch.Generator().manual_seed(seed)
    for place, path, layer in zip(chosen, network.paths, network.layers, strict=True):
        assert isinstance(place, int)
        state |= {
            f"network.{path}.{name}": tensor
            for name, tensor in _layer_state(blocks[place], layer, base, generator).items()
        }
    return state


def _layer_state(block: Block, layer: ModuleLayer, base: State, generator: torch.Generator) -> State:
    state: State = {}
    widths = [unit.width for unit in block.units[:-1]]
    narrow = layer.widths
    channels: list[list[Tensor]] = [[] for _ in widths]  # for each unit, each module's channels
    for place, (wide, few) in enumerate(zip(widths, narrow, strict=True)):
        tied = next((start - 1 for start, end in block.skips if end == place), None)
        if block.units[place].depthwise:
            channels[place] = channels[place - 1]
        elif tied is not None:
            channels[place] = channels[tied]
        else:
            channels[place] = _dealt(wide, few, layer.shrunk, generator)
    for place, unit in enumerate(block.units[:-1]):
        rows = torch.cat(channels[place])
        weight = base[f"{unit.path}.weight"]
        if place == 0 or unit.depthwise:
            taken = weight[rows]
        else:
            grow = widths[place - 1] / narrow[place - 1]
            taken = torch.cat([weight[own][:, _inputs(weight, before, widths[place - 1])] * grow
                               for own, before in zip(channels[place], channels[place - 1], strict=True)])  # fmt: skip
        shape = layer.state_dict()[f"units.{place}.layer.weight"].shape
        state[f"units.{place}.layer.weight"] = taken.reshape(shape)
        if (bias := base.get(f"{unit.path}.bias")) is not None:
            state[f"units.{place}.layer.bias"] = bias[rows]
        for name in ("weight", "bias", "running_mean", "running_var"):
            if unit.norm is not None and (tensor := base.get(f"{unit.norm_path}.{name}")) is not None:
                state[f"units.{place}.norm.{name}"] = tensor[rows]
    last = block.units[-1]
    weight = base[f"{last.path}.weight"]
    columns = [_inputs(weight, own, widths[-1]) for own in channels[-1]]
    state["last.weight"] = weight[:, torch.cat(columns)] * (widths[-1] / narrow[-1])
    if (bias := base.get(f"{last.path}.bias")) is not None:
        state["bias"] = bias
    for name in ("weight", "bias", "running_mean", "running_var"):
        if last.norm is not None and (tensor := base.get(f"{last.norm_path}.{name}")) is not None:
            state[f"norm.{name}"] = tensor
    return state


def _dealt(wide: int, few: int, modules: int, generator: torch.Generator) -> list[Tensor]:
    """Deal ``few`` of ``wide`` channels to each module: shuffled, all before one comes again; sorted."""
    deck: list[int] = []
    hands = []
    for _ in range(modules):
        hand: list[int] = []
        while len(hand) < few:
            if not deck:
                deck = torch.randperm(wide, generator=generator).tolist()
            # A channel that the hand has already goes to the next one.
            card = next((c for c in deck if c not in hand), None)
            if card is None:
                deck = []
                continue
            deck.remove(card)
            hand.append(card)
        hands.append(torch.tensor(sorted(hand)))
    return hands


def _inputs(weight: Tensor, channels: Tensor, width: int) -> Tensor:
    """The columns of a layer's weight that read some channels; after flattening each channel has several."""
    each = weight.shape[1] // width
    return (channels.unsqueeze(1) * each + torch.arange(each)).reshape(-1)
