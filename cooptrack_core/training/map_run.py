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

"""A training run of a map model from its options: data, model, stage, loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.errors import InputError
from cooptrack_core.models.cobevt.checkpoint import load_weights
from cooptrack_core.models.cobevt.config import CobevtConfig
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.cobevt.variants import OF_FUSION, OF_SINBEVT, leave_out
from cooptrack_core.models.devices import find_device
from cooptrack_core.training import loop
from cooptrack_core.training.checkpoints import fingerprint
from cooptrack_core.training.map_data import MapTrainingData
from cooptrack_core.training.map_options import MapStageRecipe, load_map_recipe
from cooptrack_core.training.map_stage import MapStage
from cooptrack_core.training.options import Progress, Stage, TrainingOptions
from cooptrack_core.training.parallel import Share
from cooptrack_core.training.run import freeze, in_processes, model_file, set_threads


def train_maps(options: TrainingOptions) -> Path:
    """Run one stage of a map model to its end.

    Args:
        options: What to train, with what, where to; ``stage`` is one of the map stages.

    Returns:
        The weights: ``<out>/weights.safetensors``, configuration inside.

    Raises:
        InputError: Options, recipe, data, weights or state are unusable, or disk is full.
        FloatingPointError: The training diverged.
    """
    return in_processes(options, _train)


def map_config(name: str) -> CobevtConfig:
    """Read a model configuration: a name below ``config/models`` or the path of a YAML file.

    Raises:
        InputError: There is no such file, or it is wrong.
    """
    path = model_file(name)
    return from_mapping(CobevtConfig, load_yaml(path), path=path)


def _train(options: TrainingOptions, share: Share) -> Path:
    """Do one process's part of ``train_maps``."""
    device = find_device(options.device)
    set_threads(options, share)
    recipe = load_map_recipe(options.config)
    plan = recipe.stage(options.stage)
    if options.iterations is not None:
        plan = replace(
            plan, optimisation=replace(plan.optimisation, iterations=options.iterations)
        )
    torch.manual_seed(options.seed)
    model = _model(options, map_config(recipe.model), plan).to(device)
    freeze(model, plan.frozen)
    if recipe.channels_last:
        model.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.channels_last = True
    data = MapTrainingData(options.data, model.config, part=(share.rank, share.world))
    held_out = None
    if options.validation and share.leads:
        held_out = MapTrainingData(options.validation, model.config)
    size = share.split(plan.optimisation.batch_size)
    part = replace(plan, optimisation=replace(plan.optimisation, batch_size=size))
    stage = MapStage(
        model,
        data,
        held_out,
        part,
        name=options.stage.value,
        seed=options.seed + 7919 * share.rank,  # processes draw different samples
        device=device,
        precision=recipe.mixed_precision,
        cache=options.map_cache,
    )
    identity = fingerprint(
        options.stage.value, model.config, plan, options.seed, data.names, recipe.mixed_precision
    )
    if options.progress is not None:
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        text = f'{len(data.scenarios)} scenarios, {count / 1e6:.2f} M trainable parameters'
        options.progress(Progress(0, plan.optimisation.iterations, text=text))
    return loop.run(stage, options, recipe, plan.optimisation, identity, share)


def _model(options: TrainingOptions, config: CobevtConfig, plan: MapStageRecipe) -> Cobevt:
    """Build the model of a stage; alone there is no fusion."""
    if not plan.together:
        config = replace(config, operator='no_fusion')
    else:
        compression = config.compression if options.compression is None else options.compression
        try:
            config = replace(
                config, operator=options.operator or config.operator, compression=compression
            )
        except ValueError as error:
            raise InputError(
                str(error), field='--compression', remedy='give a divisor of the channels, or 0'
            ) from error
    config = leave_out(config, options.without, OF_FUSION if plan.together else OF_SINBEVT)
    model = Cobevt(config)
    if options.initial is None:
        if options.stage is Stage.MAP_COOPERATIVE:
            raise InputError(
                'agents learn to work together after one has learnt to see',
                field='initial',
                remedy='give the weights of the stage "map" with --init',
            )
        return model
    earlier = load_weights(options.initial)
    alike = ('image', 'map', 'backbone', 'sinbevt', 'decoder', 'targets')
    for name in alike:
        if getattr(config, name) != getattr(earlier.config, name):
            raise InputError(
                f'the weights are of another configuration: {name} is '
                f'{getattr(earlier.config, name)} there and {getattr(config, name)} here',
                path=options.initial,
                field=name,
                remedy='choose weights of an earlier stage of the same recipe',
            )
    state, own = earlier.state_dict(), model.state_dict()
    known = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(own | known)
    return model
