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
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from cooptrack_core import resources
from cooptrack_core.datasets.opv2v import Opv2vDataset, ReadOptions
from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.maps import cooperative_map_frames
from cooptrack_core.errors import InputError
from cooptrack_core.evaluation.map_prior import MapPrior, PriorCounter
from cooptrack_core.evaluation.map_protocol import MapProtocol
from cooptrack_core.perception.map_loading import load_map_model
from cooptrack_core.perception.map_scoreboard import (
    MapEvaluationOptions,
    MapMethod,
    RadioMethod,
    Runs,
    evaluate_maps,
    map_fusion_method,
    network_method,
    prior_method,
)
from cooptrack_core.structures import CooperativeMapFrame
from cooptrack_ros.console import Terminal, emit_json, number, number_of_runs

SHIPPED = ('cobevt_tiny_alone.safetensors', 'cobevt_tiny.safetensors')
SHIPPED_PRIOR = 'cobevt_tiny_prior.npz'


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluate map models and print the table."""
    torch.set_num_threads(options.threads)
    protocol = MapProtocol(vehicles=options.map_vehicles)
    methods = map_methods(options, protocol, options.map_weights)
    evaluation = evaluation_options(options, protocol)
    scenes = map_scenes(options.data, options.split, options.max_agents)[: options.scenes]
    with terminal.progress('evaluating maps') as progress:
        result = evaluate_maps(scenes, methods, evaluation, progress)
    rows = [
        [
            name,
            *(number_of_runs(found, key) for key in ('vehicle', 'drivable', 'lane')),
            *(number(found[f'{key}_frame_mean']) for key in ('vehicle', 'drivable', 'lane')),
            number(found.get('bytes_per_message'), 0),
        ]
        for name, found in result['methods'].items()
    ]
    columns = ['vehicle', 'drivable', 'lane', '… frame mean', '…', '…', 'bytes/message']
    terminal.table('IoU', ['method', *columns], rows)
    about = result['protocol']
    terminal.say(
        f'protocol: {about["moments"]} moments of {about["scenes"]} scenes, '
        f'{about["agents_per_moment"]:.1f} agents; within {protocol.half_side:g} m; vehicles: '
        f'{protocol.vehicles}; {about["drivable"]}; {about["iou"]}'
    )
    emit_json(result, options.json)
    return 0


def evaluation_options(options: argparse.Namespace, protocol: MapProtocol) -> MapEvaluationOptions:
    """What the options say about the moments."""
    return MapEvaluationOptions(
        protocol,
        max_agents=options.max_agents,
        blind_ego=options.blind_ego,
        lost_cameras=options.lost_cameras,
        every=options.every,
        seed=options.seed,
    )


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


def map_methods(
    options: argparse.Namespace, protocol: MapProtocol, weights: Sequence[str]
) -> dict[str, MapMethod | Runs]:
    """The methods of weights ([NAME=]FILE); without any, the shipped ones.

    Files of one name are training runs of one method.

    Raises:
        InputError: Weights or prior are unusable.
    """
    methods: dict[str, MapMethod | Runs] = {}

    def add(name: str, method: MapMethod) -> None:
        before = methods.get(name)
        if before is None:
            methods[name] = method
        else:
            earlier = before.methods if isinstance(before, Runs) else (before,)
            methods[name] = Runs((*earlier, method))

    given = weights or [str(resources.weights_path(name)) for name in SHIPPED]
    for text in given:
        name, _, file = text.rpartition('=')
        model = load_map_model(file)
        together = model.network.fusion is not None
        name = name or ('cobevt' if together else 'no_fusion')
        if together and options.map_dtype != 'exact':
            add(name, RadioMethod(model, protocol, options.map_dtype))
        else:
            add(name, network_method(model.network, protocol))
        if name == 'no_fusion':
            add('map_fusion', map_fusion_method(model.network, protocol))
    prior = options.map_prior
    if prior is None and not weights:
        prior = resources.weights_path(SHIPPED_PRIOR)
    if prior is not None:
        methods['prior'] = prior_method(_prior(prior, protocol), protocol)
    if options.write_map_prior is not None:
        if prior is None:
            raise InputError(
                'there is no mean map to write',
                field='--write-map-prior',
                remedy='name the training set with --map-prior',
            )
        _prior(prior, protocol).save(options.write_map_prior)
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
