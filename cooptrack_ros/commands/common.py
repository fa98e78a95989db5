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

"""What several commands share."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path

import torch

from cooptrack_core import resources
from cooptrack_core.datasets.v2x_seq import Scene, V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.models.backends import ENDINGS
from cooptrack_core.perception import ModelSet, PerceptionModel, StreamOptions, load_model

AGENT_WEIGHTS = 'tiny_agent.safetensors'
COOPERATIVE_WEIGHTS = 'tiny_cooperative.safetensors'


def load_models(options: argparse.Namespace) -> ModelSet:
    """Load the single-agent models and the cooperative model that the options ask for.

    Raises:
        InputError: A file is missing or is no such model, or the device is not there.
    """
    torch.set_num_threads(options.threads)
    agent = options.agent_weights or resources.weights_path(AGENT_WEIGHTS)
    cooperative = options.cooperative_weights or resources.weights_path(COOPERATIVE_WEIGHTS)

    if options.exported is not None and options.backend not in ENDINGS:
        raise InputError(
            f'{options.backend} uses no exported files',
            field='--exported',
            remedy='say --backend openvino or --backend onnxruntime',
        )

    def load(path: str | Path) -> PerceptionModel:
        exported = None
        if options.exported is not None:
            exported = options.exported / Path(path).with_suffix(ENDINGS[options.backend]).name
        return load_model(
            path,
            options.device,
            backend=options.backend,
            precision=options.precision,
            exported=exported,
        )

    vehicle = roadside = load(agent)
    if options.roadside_weights:
        roadside = load(options.roadside_weights)
    return ModelSet(vehicle, roadside, load(cooperative))


def stream_options(options: argparse.Namespace) -> StreamOptions:
    """Settings of the radio from the options.

    Raises:
        InputError: A value is out of range.
    """
    for name in ('latency_ms', 'jitter_ms', 'loss'):
        value = getattr(options, name)
        if value < 0 or (name == 'loss' and value > 1):
            raise InputError(
                f'{value} is out of range',
                field=f'--{name.replace("_", "-")}',
                remedy='give a share from 0 to 1' if name == 'loss' else 'give milliseconds >= 0',
            )
    return StreamOptions(
        dtype=options.dtype,
        latency_ms=options.latency_ms,
        jitter_ms=options.jitter_ms,
        loss=options.loss,
        seed=options.seed,
    )


def choose_scene(dataset: V2XSeqDataset, name: str | None) -> Scene:
    """Return the scene of that sequence id, or the first one.

    Raises:
        InputError: There is no such scene, or none at all.
    """
    if not dataset.scenes:
        raise InputError('the dataset holds no scene', path=dataset.root)
    if name is None:
        return dataset.scenes[0]
    scenes = {scene.sequence_id: scene for scene in dataset.scenes}
    if name not in scenes:
        near = difflib.get_close_matches(name, scenes, n=1)
        raise InputError(
            f"there is no sequence '{name}'",
            path=dataset.root,
            field='--scene',
            remedy=f"did you mean '{near[0]}'?" if near else f'known: {sorted(scenes)}',
        )
    return scenes[name]
