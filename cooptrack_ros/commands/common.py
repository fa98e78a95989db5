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
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from cooptrack_core import resources
from cooptrack_core.datasets.v2x_seq import Scene, V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.models.backends import exported_file
from cooptrack_core.models.cooptrack.variants import VARIANTS, parts_of
from cooptrack_core.perception import (
    MapModel,
    ModelSet,
    PerceptionModel,
    StreamOptions,
    load_map_model,
    load_model,
)
from cooptrack_core.perception.disturbance import Disturbance
from cooptrack_core.perception.methods import LEARNT_BASELINES
from cooptrack_core.v2x.selection import Selection
from cooptrack_ros.console import Terminal

AGENT_WEIGHTS = 'tiny_agent.safetensors'
COOPERATIVE_WEIGHTS = 'tiny_cooperative.safetensors'
MAP_WEIGHTS = 'cobevt_tiny.safetensors'

T = TypeVar('T')


def load_models(options: argparse.Namespace) -> ModelSet:
    """Load the single-agent models and the cooperative model that the options ask for.

    Raises:
        InputError: A file is missing or is no such model, or the device is not there.
    """
    torch.set_num_threads(options.threads)
    agent = options.agent_weights or resources.weights_path(AGENT_WEIGHTS)
    cooperative = options.cooperative_weights or resources.weights_path(COOPERATIVE_WEIGHTS)

    def load(path: str | Path, parts_left_out: Sequence[str] = ()) -> PerceptionModel:
        return load_model(
            path,
            options.device,
            backend=options.backend,
            precision=options.precision,
            exported=_exported(options, path),
            parts_left_out=parts_left_out,
        )

    vehicle = roadside = load(agent)
    if options.roadside_weights:
        roadside = load(options.roadside_weights)
    queries, maps = (
        _baseline(load, getattr(options, f'{fusion}_weights', None), fusion)
        for fusion in ('query_fusion', 'bev_fusion')
    )
    variants: dict[str, PerceptionModel] = {}
    if getattr(options, 'ablation', False):
        trained = options.ablation_weights[0] if options.ablation_weights else None
        variants = {name: load(*_variant(trained, name, cooperative)) for name in VARIANTS}
    seeds = _seeds(load, getattr(options, 'seed_weights', ()))
    for directory in getattr(options, 'ablation_weights', ())[1:] if variants else ():
        for name in VARIANTS:
            if _trained(options.ablation_weights[0], name) is not None:
                seeds.setdefault(name, []).append(load(_of_other_seed(directory, name)))
    return ModelSet(vehicle, roadside, load(cooperative), queries, maps, variants, seeds)


def _exported(options: argparse.Namespace, path: str | Path) -> Path | None:
    """The exported file that belongs to a weights file."""
    if options.exported is None:
        return None
    return exported_file(options.exported, path, options.backend)


def load_map(options: argparse.Namespace) -> MapModel | None:
    """Load the map model, if maps are asked for.

    Raises:
        InputError: The file is missing or is no map model, or the device is not there.
    """
    if not options.map:
        return None
    torch.set_num_threads(options.threads)
    path = options.map_weights or map_weights()
    return load_map_model(
        path,
        options.device,
        backend=options.backend,
        precision=options.precision if options.backend != 'torch' else 'fp32',
        exported=_exported(options, path),
    )


def map_weights() -> Path:
    """The shipped map weights.

    Raises:
        InputError: None are shipped.
    """
    try:
        return resources.weights_path(MAP_WEIGHTS)
    except InputError:
        raise InputError(
            'no map weights are shipped',
            field='--map-weights',
            remedy='train a map model with "cooptrack train --stage map" and give its file',
        ) from None


def _variant(
    directory: Path | None, name: str, whole: str | Path
) -> tuple[str | Path, tuple[str, ...]]:
    """Weights of a variant, and what to leave out of them.

    Raises:
        InputError: The directory of trained variants does not exist.
    """
    own = None if directory is None else _trained(directory, name)
    return (whole, parts_of(name)) if own is None else (own, ())


def _of_other_seed(directory: Path, name: str) -> Path:
    """Weights of a variant in a further directory of trained ones.

    Raises:
        InputError: They are not there.
    """
    own = _trained(directory, name)
    if own is None:
        raise InputError(
            f'{name} is missing here, but the first directory has it',
            path=directory,
            field='--ablation-weights',
            remedy='train it with this seed too, or leave the directory out',
        )
    return own


def _trained(directory: Path, name: str) -> Path | None:
    """File of a variant that was trained, None where it was not.

    Raises:
        InputError: The directory does not exist.
    """
    if not directory.is_dir():
        raise InputError(
            'there is no such directory',
            path=directory,
            field='--ablation-weights',
            remedy='give the directory that holds runs of "cooptrack train --without"',
        )
    files = (directory / name / COOPERATIVE_WEIGHTS, directory / name / 'weights.safetensors')
    return next((file for file in files if file.exists()), None)


def _seeds(
    load: Callable[[str], PerceptionModel], given: Sequence[str]
) -> dict[str, list[PerceptionModel]]:
    """Load the weights of further training runs, ``[METHOD=]FILE``, by field of ``ModelSet``.

    Raises:
        InputError: A method is not trained, or its weights are of another one.
    """
    seeds: dict[str, list[PerceptionModel]] = {}
    for text in given:
        name, _, file = text.rpartition('=')
        name = name or 'cooptrack'
        if name not in ('cooptrack', *LEARNT_BASELINES):
            raise InputError(
                f"'{name}' is not trained on its own",
                field='--seed-weights',
                remedy=f'choose cooptrack, {" or ".join(LEARNT_BASELINES)}',
            )
        model = load(file)
        if name == 'cooptrack':
            model.with_rule_matching()  # refuses single-agent weights
        else:
            _check_fusion(model, name, '--seed-weights')
        seeds.setdefault('cooperative' if name == 'cooptrack' else name, []).append(model)
    return seeds


def _baseline(
    load: Callable[[str], PerceptionModel], path: str | None, name: str
) -> PerceptionModel | None:
    """Load the model of a learnt baseline, if its file is given.

    Raises:
        InputError: The weights are of another fusion.
    """
    if path is None:
        return None
    model = load(path)
    _check_fusion(model, name, f'--{name.replace("_", "-")}-weights')
    return model


def _check_fusion(model: PerceptionModel, name: str, option: str) -> None:
    """Refuse weights that are not of a learnt baseline.

    Raises:
        InputError: They are of another fusion; it names ``option``.
    """
    found = model.network.query_fusion, model.network.bev_fusion
    if found[name == 'bev_fusion'] is None:
        raise InputError(
            f'these are no weights of {name}',
            path=model.path,
            field=option,
            remedy=f'train them with --config training/tiny_{name}.yaml',
        )


def stream_options(options: argparse.Namespace) -> StreamOptions:
    """Settings of the radio from the options.

    Raises:
        InputError: A value is out of range.
    """
    for name in ('latency_ms', 'jitter_ms', 'loss'):
        value = getattr(options, name)
        if not 0 <= value < math.inf or (name == 'loss' and value > 1):
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
        selection=_selection(options),
    )


def _selection(options: argparse.Namespace) -> Selection:
    """What senders leave out."""
    fields = {
        'min_score': ('--min-score', options.min_score),
        'most': ('--most-instances', options.most_instances),
        'message_hz': ('--message-hz', options.message_hz),
        'outside_view_m': ('--outside-view-m', options.outside_view_m),
    }
    for name, (field, value) in fields.items():
        try:
            Selection(**{name: value})
        except ValueError as error:
            raise InputError(
                str(error), field=field, remedy='see "cooptrack evaluate --help"'
            ) from error
    return Selection(**{name: value for name, (_, value) in fields.items()})


def disturbed_stream_options(options: argparse.Namespace) -> StreamOptions:
    """Settings of radio, receiver and disturbances from the options.

    Raises:
        InputError: A value is out of range.
    """
    for name in ('wait_ms', 'max_age_ms', 'future_tolerance_ms', 'clock_skew_ms'):
        value = getattr(options, name)
        least = {'max_age_ms': 1.0, 'clock_skew_ms': -math.inf}.get(name, 0.0)
        if not least <= value < math.inf or not math.isfinite(value):
            raise InputError(
                f'{value} is out of range',
                field=f'--{name.replace("_", "-")}',
                remedy='give a number of milliseconds'
                + ('' if math.isinf(least) else f' >= {least:g}'),
            )
    metres, degrees = pose_noise(options.pose_noise)
    return replace(
        stream_options(options),
        wait_ms=options.wait_ms,
        max_age_ms=options.max_age_ms,
        future_tolerance_ms=options.future_tolerance_ms,
        compensate=not options.no_compensation,
        repeat=not options.no_repeat,
        disturbance=Disturbance(
            pose_noise_m=metres,
            pose_noise_deg=degrees,
            pose_noise_at=options.pose_noise_at,
            clock_skew_ms=options.clock_skew_ms,
            blind_roadside=options.no_roadside_images,
            seed=options.seed,
        ),
    )


def pose_noise(text: str) -> tuple[float, float]:
    """Read METRES,DEGREES.

    Raises:
        InputError: These are not two numbers from 0 up.
    """
    try:
        metres, degrees = (float(part) for part in text.split(','))
    except ValueError:
        metres = degrees = math.nan
    if not (0 <= metres < math.inf and 0 <= degrees < math.inf):
        raise InputError(
            f"'{text}' is not METRES,DEGREES",
            field='--pose-noise',
            remedy='give two standard deviations from 0 up, for example 0.2,0.5',
        )
    return metres, degrees


def method_names(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of methods."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(',') if name.strip()))


def open_for_evaluation(options: argparse.Namespace, terminal: Terminal) -> V2XSeqDataset:
    """Open the dataset as its metrics are published; check the options that cut it.

    Raises:
        InputError: The dataset is unusable, or an option is out of range.
    """
    for name in ('rate', 'scenes'):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(
                f'{value} is no frame rate' if name == 'rate' else f'{value} scenes are none',
                field=f'--{name}',
                remedy='give a number above 0',
            )
    return V2XSeqDataset(
        options.data,
        split=options.split,
        remove_ego_from_cooperative=True,
        on_image_error='drop',
        on_warning=terminal.say,
    )


def choose_scene(dataset: V2XSeqDataset, name: str | None) -> Scene:
    """Return the scene of that sequence id, or the first one.

    Raises:
        InputError: There is no such scene, or none at all.
    """
    return choose({scene.sequence_id: scene for scene in dataset.scenes}, name, dataset.root)


def choose(scenes: Mapping[str, T], name: str | None, path: Path) -> T:
    """Return what has that name, or the first.

    Raises:
        InputError: There is nothing of that name, or nothing at all.
    """
    if not scenes:
        raise InputError('the dataset holds no scene', path=path)
    if name is None:
        return next(iter(scenes.values()))
    if name not in scenes:
        near = difflib.get_close_matches(name, scenes, n=1)
        raise InputError(
            f"there is no sequence '{name}'",
            path=path,
            field='--scene',
            remedy=f"did you mean '{near[0]}'?" if near else f'known: {sorted(scenes)}',
        )
    return scenes[name]
