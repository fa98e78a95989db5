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

"""`cooptrack evaluate --map`: IoU of semantic maps."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch

from cooptrack_core.datasets.opv2v import Opv2vDataset, ReadOptions
from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.maps import cooperative_map_frames
from cooptrack_core.errors import InputError
from cooptrack_core.evaluation.map_prior import MapPrior, PriorCounter
from cooptrack_core.evaluation.map_protocol import MapProtocol
from cooptrack_core.models.cobevt.checkpoint import load_weights
from cooptrack_core.perception.map_scoreboard import (
    MapEvaluationOptions,
    MapMethod,
    evaluate_maps,
    map_fusion_method,
    network_method,
    prior_method,
)
from cooptrack_core.structures import CooperativeMapFrame
from cooptrack_ros.console import Terminal, emit_json, number


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluate map models and print the table."""
    torch.set_num_threads(options.threads)
    protocol = MapProtocol(vehicles=options.map_vehicles)
    methods = _methods(options, protocol)
    evaluation = MapEvaluationOptions(
        protocol, max_agents=options.max_agents, blind_ego=options.blind_ego, every=options.every
    )
    scenes = map_scenes(options.data, options.split, options.max_agents)[: options.scenes]
    with terminal.progress('evaluating maps') as progress:
        result = evaluate_maps(scenes, methods, evaluation, progress)
    rows = [
        [
            name,
            *(number(found[key]) for key in ('vehicle', 'drivable', 'lane')),
            *(number(found[f'{key}_frame_mean']) for key in ('vehicle', 'drivable', 'lane')),
        ]
        for name, found in result['methods'].items()
    ]
    columns = ['vehicle', 'drivable', 'lane', '… frame mean', '…', '…']
    terminal.table('IoU', ['method', *columns], rows)
    about = result['protocol']
    terminal.say(
        f'protocol: {about["moments"]} moments of {about["scenes"]} scenes, '
        f'{about["agents_per_moment"]:.1f} agents; within {protocol.half_side:g} m; vehicles: '
        f'{protocol.vehicles}; {about["drivable"]}; {about["iou"]}'
    )
    emit_json(result, options.json)
    return 0


def map_scenes(
    path: Path, split: str | None, max_agents: int, *, images: bool = True
) -> list[Iterable[CooperativeMapFrame]]:
    """Moments of every scene of a dataset in the layout of OPV2V or V2X-Seq.

    Raises:
        InputError: The directory holds neither.
    """
    if (path / 'cooperative').is_dir():
        dataset = V2XSeqDataset(path, split=split, on_image_error='drop')
        return [cooperative_map_frames(scene, load_images=images) for scene in dataset.scenes]
    opv2v = Opv2vDataset(
        path, split=split, options=ReadOptions(max_agents=max_agents, on_image_error='drop')
    )
    return [s.frames(load_images=images) for s in opv2v.scenarios if s.vehicle_ids]


def _methods(options: argparse.Namespace, protocol: MapProtocol) -> dict[str, MapMethod]:
    methods: dict[str, MapMethod] = {}
    for text in options.map_weights:
        name, _, file = text.rpartition('=')
        model = load_weights(file)
        name = name or ('cobevt' if model.fusion is not None else 'no_fusion')
        if name in methods:
            raise InputError(
                f'there are two methods {name}', field='--map-weights', remedy='write NAME=FILE'
            )
        methods[name] = network_method(model, protocol)
        if name == 'no_fusion':
            methods['map_fusion'] = map_fusion_method(model, protocol)
    if options.map_prior is not None:
        methods['prior'] = prior_method(_prior(options.map_prior, protocol), protocol)
    if not methods:
        raise InputError(
            'there is no map model to evaluate, none is shipped yet',
            field='--map-weights',
            remedy='train one with "cooptrack train --stage map" and give its weights',
        )
    return methods


def _prior(path: Path, protocol: MapProtocol) -> MapPrior:
    """A stored mean map, or that of a training set."""
    if path.is_file():
        return MapPrior.load(path)
    counter = PriorCounter(protocol)
    for scene in map_scenes(path, None, 1, images=False):
        for moment in scene:
            if moment.labels is not None:
                counter.add(protocol.truth(moment.labels))
    return counter.prior()
