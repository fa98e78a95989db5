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

"""Methods that make a map of what several agents see, and their numbers on a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from cooptrack_core.errors import InputError
from cooptrack_core.evaluation.map_prior import MapPrior
from cooptrack_core.evaluation.map_protocol import MapProtocol, Masks
from cooptrack_core.evaluation.maps import MapScore, map_report, mean_of_runs
from cooptrack_core.geometry.bev_warp import warp_to_ego
from cooptrack_core.models.cobevt.inference import for_inference
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.cobevt.preprocess import (
    map_pose,
    prepare_ring,
    prepare_scene,
    relative_pose,
)
from cooptrack_core.models.fusion.map_nearest import NearestAgent
from cooptrack_core.perception.map_loading import MapModel
from cooptrack_core.perception.mapping import BevMapper, static_ids
from cooptrack_core.structures import AgentFrame, CooperativeMapFrame
from cooptrack_core.v2x.bev_codec import decode_bev, encode_bev
from cooptrack_core.v2x.envelope import Dtype

# Makes the masks of a moment; the ego is the first agent.
MapMethod = Callable[[Sequence[AgentFrame]], Masks]


@dataclass(frozen=True)
class Runs:
    """One method trained several times, with different seeds.

    Attributes:
        methods: One per training run.
    """

    methods: tuple[MapMethod, ...]


@dataclass(frozen=True)
class MapEvaluationOptions:
    """How maps are evaluated.

    Attributes:
        protocol: How they are compared.
        max_agents: Most agents of a moment, the ego included.
        blind_ego: All cameras of the ego are lost.
        lost_cameras: So many cameras of the ego are lost, drawn anew in every moment.
        every: Only every n-th moment of a scene counts.
        seed: Of the draw.
    """

    protocol: MapProtocol
    max_agents: int = 5
    blind_ego: bool = False
    lost_cameras: int = 0
    every: int = 1
    seed: int = 0

    def agents(self, moment: CooperativeMapFrame, index: int) -> list[AgentFrame]:
        """The agents of a moment that take part, the ego first, with what is left of it.

        Args:
            moment: What all see.
            index: Of the moment among all; the same cameras are lost whatever else is chosen.
        """
        frames = list(moment.agents[: self.max_agents])
        images = frames[0].images
        lost = len(images) if self.blind_ego else min(self.lost_cameras, len(images))
        if lost:
            order = np.random.default_rng((self.seed, index)).permutation(len(images))
            left = sorted(order[lost:])
            frames[0] = replace(frames[0], images=tuple(images[i] for i in left))
        return frames


def network_method(model: Cobevt, protocol: MapProtocol) -> MapMethod:
    """A map model; one without fusion takes the ego alone."""
    _check_grid(model, protocol)
    ready = for_inference(model)

    def run(frames: Sequence[AgentFrame]) -> Masks:
        taken = frames if model.fusion is not None else frames[:1]
        with torch.inference_mode():
            logits = ready(prepare_scene(taken, model.config)).logits
        found = {t: x[0].argmax(0).cpu().numpy() for t, x in logits.items()}
        return protocol.masks(found.get('dynamic'), found.get('static'))

    return run


class RadioMethod:
    """A map model by the calls that ``run --map`` makes, with every message encoded and decoded.

    Attributes:
        messages: Number of messages so far.
        sent: Their bytes together.
    """

    def __init__(self, model: MapModel, protocol: MapProtocol, dtype: Dtype = 'int8') -> None:
        """Keep what is needed.

        Args:
            model: The loaded model.
            protocol: How maps are compared.
            dtype: Number format on the air.

        Raises:
            InputError: The model makes maps of another grid.
        """
        _check_grid(model.network, protocol)
        self._model, self._protocol, self._dtype = model, protocol, dtype
        self.messages = self.sent = 0

    def __call__(self, frames: Sequence[AgentFrame]) -> Masks:
        """Masks of a moment; the ego is the first agent."""
        mapper = BevMapper(self._model, frames[0].agent_id, max_agents=len(frames))
        own = mapper.sense(frames[0])
        heard = []
        for frame in frames[1:]:
            said = BevMapper(self._model, frame.agent_id).sense(frame)
            if said is not None:
                data = encode_bev(said, self._dtype)
                self.messages, self.sent = self.messages + 1, self.sent + len(data)
                heard.append(decode_bev(data, self._model.limits))
        made = mapper.fuse(frames[0], own, heard).map
        vehicle = None
        if 'vehicle' in made.class_names:
            vehicle = made.probabilities[made.class_names.index('vehicle')] > 0.5
        static = static_ids(made) if 'lane' in made.class_names else None
        return self._protocol.masks(vehicle, static)


def map_fusion_method(model: Cobevt, protocol: MapProtocol) -> MapMethod:
    """Every agent decodes a map of its own; a cell takes what the nearest agent says."""
    _check_grid(model, protocol)
    ready = for_inference(model)
    nearest = NearestAgent(model.config.map)

    def run(frames: Sequence[AgentFrame]) -> Masks:
        poses = [
            relative_pose(map_pose(frames[0], model.config), map_pose(f, model.config))
            for f in frames
        ]
        ego_T_agent = torch.from_numpy(np.stack(poses).astype(np.float32))[None]
        present = torch.tensor([[bool(frame.images) for frame in frames]])
        found = {}
        with torch.inference_mode():
            rings = [prepare_ring(frame, model.config) for frame in frames]
            decoded = [
                ready.decode(
                    ready.encode(r.images, r.intrinsics, r.agent_T_camera, r.cameras_valid)
                )
                for r in rings
            ]
            for target in decoded[0]:
                maps = torch.cat([logits[target] for logits in decoded])[None].softmax(2)
                warped, valid = warp_to_ego(maps, present, ego_T_agent, model.config.map)
                found[target] = nearest(warped, valid, ego_T_agent)[0].argmax(0).numpy()
        return protocol.masks(found.get('dynamic'), found.get('static'))

    return run


def prior_method(prior: MapPrior, protocol: MapProtocol) -> MapMethod:
    """The mean map of a training set, blind to images.

    Raises:
        InputError: It is of another grid.
    """
    if prior.grid != protocol.grid:
        raise InputError(
            f'the mean map has the grid {prior.grid}, the evaluation {protocol.grid}',
            field='prior',
            remedy='make it from data of the same grid',
        )
    masks = prior.predict()
    return lambda frames: masks


def evaluate_maps(
    scenes: Sequence[Iterable[CooperativeMapFrame]],
    methods: Mapping[str, MapMethod | Runs],
    options: MapEvaluationOptions,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Numbers of all methods, and the protocol they were made under.

    Args:
        scenes: Moments with labels, scene after scene.
        methods: By name; of several runs, means and deviations are told.
        options: How.
        progress: Called with finished and all scenes.

    Returns:
        ``{"protocol": …, "methods": {name: {"vehicle": IoU, …}}}``; see ``map_report``.

    Raises:
        InputError: There is no moment to evaluate, or a file of the dataset is unusable.
    """
    runs = {n: m.methods if isinstance(m, Runs) else (m,) for n, m in methods.items()}
    scores = {n: [MapScore(options.protocol) for _ in made] for n, made in runs.items()}
    moments = agents = 0
    for done, scene in enumerate(scenes):
        for index, moment in enumerate(scene):
            if index % options.every or moment.labels is None:
                continue
            frames = options.agents(moment, moments)
            truth = options.protocol.truth(moment.labels)
            for name, made in runs.items():
                for method, score in zip(made, scores[name], strict=True):
                    found = method(frames)
                    known = {key: mask for key, mask in truth.items() if key in found}
                    score.add(found, known)
            moments, agents = moments + 1, agents + len(frames)
        if progress is not None:
            progress(done + 1, len(scenes))
    if not moments:
        raise InputError('there is no moment to evaluate', remedy='give data with maps')
    result = map_report(options.protocol, {})
    for name, made in runs.items():
        numbers = [_numbers(*pair) for pair in zip(made, scores[name], strict=True)]
        result['methods'][name] = numbers[0] if len(made) == 1 else mean_of_runs(numbers)
    result['protocol'] |= {
        'max_agents': options.max_agents,
        'blind_ego': options.blind_ego,
        'lost_cameras': options.lost_cameras,
        'every': options.every,
        'scenes': len(scenes),
        'moments': moments,
        'agents_per_moment': agents / moments,
    }
    return result


def _numbers(method: MapMethod, score: MapScore) -> dict[str, Any]:
    numbers = score.as_dict()
    if isinstance(method, RadioMethod) and method.messages:
        numbers['bytes_per_message'] = method.sent / method.messages
    return numbers


def _check_grid(model: Cobevt, protocol: MapProtocol) -> None:
    if model.config.map != protocol.grid:
        raise InputError(
            f'the weights make maps on {model.config.map}, the evaluation is on {protocol.grid}',
            field='map',
            remedy='evaluate on the grid of the weights',
        )
