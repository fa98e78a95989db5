# Copyright 2026 cooptrack_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""A training run from its options: datasets, model, stage, loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import nn

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.errors import InputError
from cooptrack_core.models.backbones.pretrained import load_backbone
from cooptrack_core.models.bev_encoder.lift import LiftEncoder
from cooptrack_core.models.checkpoint import load_weights, read_metadata
from cooptrack_core.models.cooptrack.config import ModelConfig
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.variants import leave_out
from cooptrack_core.models.devices import find_device
from cooptrack_core.resources import config_path
from cooptrack_core.training import loop
from cooptrack_core.training.auxiliary import HEADS_NAME, AuxiliaryHeads, load_heads
from cooptrack_core.training.checkpoints import fingerprint
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.detection import DetectionStage
from cooptrack_core.training.grow import can_grow, grow, silence_additions, with_additions
from cooptrack_core.training.options import (
    Progress,
    Recipe,
    Stage,
    StageRecipe,
    TrainingOptions,
    load_recipe,
)
from cooptrack_core.training.parallel import Share, processes


def train(options: TrainingOptions) -> Path:
    """Run one stage to its end.

    Args:
        options: What to train, with what, where to.

    Returns:
        The weights: ``<out>/weights.safetensors``, configuration inside.

    Raises:
        InputError: Options, recipe, data, weights or state are unusable, or disk is full.
        FloatingPointError: The training diverged.
    """
    return in_processes(options, _train)


def in_processes(options: TrainingOptions, work: Callable[[TrainingOptions, Share], Path]) -> Path:
    """Make the run directory and do the work, shared by as many processes as wanted.

    Args:
        options: Of the run.
        work: One process's part; must be importable.
    """
    check_out(options)
    helper = partial(work, replace(options, progress=None))
    with processes(options.processes, helper) as share:
        return work(options, share)


def set_threads(options: TrainingOptions, share: Share) -> None:
    """Give this process its threads."""
    threads = options.threads
    if threads <= 0 and share.world > 1:
        threads = max(1, (os.cpu_count() or 1) // share.world)
    if threads > 0:
        torch.set_num_threads(threads)


def model_file(name: str) -> Path:
    """Path of a model configuration: a name below ``config/models``, or a path of a YAML file."""
    path = Path(name)
    return path if path.suffix in ('.yaml', '.yml') else config_path(f'models/{name}.yaml')


def _train(options: TrainingOptions, share: Share) -> Path:
    """Do one process's part of ``train``."""
    device = find_device(options.device)
    set_threads(options, share)
    recipe = load_recipe(options.config)
    plan = recipe.stage(options.stage)
    if options.iterations is not None:
        plan = replace(
            plan, optimisation=replace(plan.optimisation, iterations=options.iterations)
        )
    torch.manual_seed(options.seed)
    model = _model(options, recipe).to(device)
    freeze(model, plan.frozen)
    if recipe.channels_last:
        model.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = _data(options.data, model.config, plan, (share.rank, share.world))
    held_out = None
    if options.validation and share.leads:
        held_out = _data(options.validation, model.config, plan)
    stage = _stage(options, recipe, plan, model, data, held_out, device, share)
    identity = fingerprint(
        options.stage.value, model.config, plan, options.seed, data.names, recipe.mixed_precision
    )
    if options.progress is not None:
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        text = f'{len(data.scenes)} scenes, {count / 1e6:.2f} M trainable parameters'
        options.progress(Progress(0, plan.optimisation.iterations, text=text))
    return loop.run(stage, options, recipe, plan.optimisation, identity, share)


def model_config(name: str) -> ModelConfig:
    """Read a model configuration: a name below ``config/models`` or the path of a YAML file.

    Raises:
        InputError: There is no such file, or it is wrong.
    """
    path = model_file(name)
    return from_mapping(ModelConfig, load_yaml(path), path=path)


def freeze(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Stop parameters from training by the beginning of their names.

    Raises:
        InputError: A prefix fits no parameter.
    """
    for prefix in prefixes:
        found = [p for n, p in model.named_parameters() if n.startswith(prefix)]
        if not found:
            parts = sorted({n.split('.')[0] for n, _ in model.named_parameters()})
            raise InputError(
                f'no parameter begins with {prefix!r}',
                field='frozen',
                remedy=f'use one of {parts}',
            )
        for parameter in found:
            parameter.requires_grad_(False)


def check_out(options: TrainingOptions) -> None:
    """Make the run directory.

    Raises:
        InputError: It cannot be made, or holds another run.
    """
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'cannot make the run directory ({error.strerror})', path=options.out, field='out'
        ) from error
    if not options.resume and (options.out / 'state.pt').exists():
        raise InputError(
            'there is a run in this directory already',
            path=options.out,
            field='out',
            remedy='continue it with --resume, or choose another directory',
        )


def _model(options: TrainingOptions, recipe: Recipe) -> CoopTrack:
    """Build the model of a stage: detection and tracking train an agent without cooperation."""
    config = model_config(recipe.model)
    if options.stage is not Stage.COOPERATIVE:
        config = replace(config, cooperation=None)
    elif config.cooperation is None:
        raise InputError('this model has no cooperation part', path=options.config, field='model')
    if options.without:
        config = leave_out(config, options.without)
    if options.stage is not Stage.LATENCY:
        config = replace(config, latency=None)
    elif config.latency is None or config.reasoning is None:
        raise InputError('this model has no feature flow', path=options.config, field='model')
    if options.stage is Stage.LATENCY and options.initial is not None:
        # Nothing but the flow trains, so the agent keeps its operating point.
        config = replace(config, tracking=load_weights(options.initial).config.tracking)
    model = CoopTrack(config)
    if options.backbone is not None:
        load_backbone(model.backbone, options.backbone)
    if options.initial is None:
        if options.stage in (Stage.COOPERATIVE, Stage.LATENCY):
            raise InputError(
                f'the {options.stage.value} stage starts from an agent model',
                field='initial',
                remedy='give the weights of the tracking stage with --init',
            )
        return model
    resize = options.stage is Stage.DETECTION
    _start_from(model, load_weights(options.initial), options.initial, resize=resize)
    if options.stage in (Stage.TRACKING, Stage.COOPERATIVE) and not _streams(options.initial):
        start_streaming(model)
    return model


def _streams(path: Path) -> bool:
    """Whether weights have been through the tracking stage."""
    metadata = read_metadata(path)
    return metadata.get('stage') != Stage.DETECTION.value or metadata.get('streams') == 'True'


def start_streaming(model: CoopTrack) -> None:
    """Let the parts that detection did not train begin without harm.

    The refine heads start as background that stays where the decoder put it, and the previous
    BEV map of the lift encoder starts without influence. Only for models that start the decoder
    like that too; the released ones do not.
    """
    if model.refine is None or not model.config.decoder.zero_start:
        return
    logits, boxes = model.refine.to_logits[-1], model.refine.to_box[-1]
    nn.init.constant_(cast(nn.Linear, logits).bias, -3.0)
    nn.init.zeros_(cast(nn.Linear, boxes).weight)
    nn.init.zeros_(cast(nn.Linear, boxes).bias)
    if isinstance(model.bev_encoder, LiftEncoder):
        nn.init.zeros_(model.bev_encoder.memory.weight[:, model.config.embed_dims :].detach())


def _start_from(model: CoopTrack, earlier: CoopTrack, path: Path, *, resize: bool = False) -> None:
    """Copy the weights of an earlier stage; only cooperation may be missing in it.

    Weights of a smaller BEV map with fewer queries are grown (``grow.py``). With ``resize`` the
    input size may differ too, the backbone may be deeper, and the lift encoder may begin to
    compare depths: all image parts are convolutions, and they train.

    Raises:
        InputError: The weights belong to another configuration.
    """
    wanted, found = model.config, earlier.config
    state = earlier.state_dict()
    if resize:
        found = replace(with_additions(found, wanted), image=wanted.image)
    if found != wanted and can_grow(found, wanted):
        state = grow(state, found, wanted)
        found = replace(found, bev=wanted.bev, decoder=wanted.decoder)
    for name in ('image', 'range', 'bev', 'backbone', 'decoder', 'embed_dims', 'classes'):
        if getattr(wanted, name) != getattr(found, name):
            raise InputError(
                f'the weights are of another configuration: {name} is {getattr(found, name)} '
                f'there and {getattr(wanted, name)} here',
                path=path,
                field=name,
                remedy='choose weights of an earlier stage of the same recipe',
            )
    own = model.state_dict()
    silence_additions(own, state)
    for name, value in state.items():
        if name in own and own[name].shape == value.shape:
            own[name] = value
    model.load_state_dict(own)


def _data(
    roots: tuple[Path, ...],
    config: ModelConfig,
    plan: StageRecipe,
    part: tuple[int, int] = (0, 1),
) -> TrainingData:
    return TrainingData(
        roots,
        config.image.width,
        config.range,
        min_visible_pixels=plan.min_visible_pixels,
        max_occlusion=plan.max_occlusion,
        part=part,
    )


def _stage(
    options: TrainingOptions,
    recipe: Recipe,
    plan: StageRecipe,
    model: CoopTrack,
    data: TrainingData,
    held_out: TrainingData | None,
    device: torch.device,
    share: Share,
) -> loop.StageRun:
    size = share.split(plan.optimisation.batch_size)
    plan = replace(plan, optimisation=replace(plan.optimisation, batch_size=size))
    shared = {
        'seed': options.seed + 7919 * share.rank,  # processes draw different samples
        'device': device,
        'precision': recipe.mixed_precision,
        'channels_last': recipe.channels_last,
    }
    heads = AuxiliaryHeads(model.config.embed_dims, len(model.config.classes)).to(device)
    if options.initial is not None and options.stage is not Stage.COOPERATIVE:
        load_heads(heads, options.initial.with_name(HEADS_NAME))
    if options.stage is Stage.DETECTION:
        streams = options.initial is not None and _streams(options.initial)
        return DetectionStage(model, heads, data, held_out, plan, streams=streams, **shared)  # type: ignore[arg-type]
    if options.stage is Stage.TRACKING:
        from cooptrack_core.training.tracking import TrackingStage

        return TrackingStage(model, heads, data, held_out, plan, **shared)  # type: ignore[arg-type]
    if options.stage is Stage.LATENCY:
        from cooptrack_core.training.latency import LatencyStage

        return LatencyStage(model, data, held_out, plan, **shared)  # type: ignore[arg-type]
    from cooptrack_core.training.cooperative import CooperativeStage

    source = options.remote or options.initial
    assert source is not None  # noqa: S101 - _model has refused it
    sender, identity = load_weights(source).to(device), read_metadata(source)['model_id']
    if model.bev_fusion is not None:
        from cooptrack_core.training.bev_fusion import BevFusionStage

        return BevFusionStage(model, sender, identity, data, held_out, plan, **shared)  # type: ignore[arg-type]
    return CooperativeStage(model, sender, identity, data, held_out, plan, **shared)  # type: ignore[arg-type]
