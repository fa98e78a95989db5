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

"""`cooptrack halve`: how the shipped weights are made of trained ones."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from cooptrack_core.errors import InputError
from cooptrack_core.models.checkpoint import load_weights, read_metadata, save_weights
from cooptrack_core.models.cooptrack.config import PlacementConfig
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.code import code_of_messages, with_code
from cooptrack_ros.commands.common import AGENT_WEIGHTS, COOPERATIVE_WEIGHTS
from cooptrack_ros.console import Terminal, emit_json


def _set_cooperation(model: CoopTrack, **changes: Any) -> None:
    """Change the fusion of a cooperative model.

    Raises:
        InputError: The model fuses nothing.
    """
    if model.config.cooperation is None:
        raise InputError(
            'the second model has no cooperation part',
            field='--score-bias, --unseen-bias, --remote-weight, --sender-word, --vehicle-spread',
            remedy='give cooperative weights second, or leave these options out',
        )
    cooperation = dataclasses.replace(model.config.cooperation, **changes)
    model.config = dataclasses.replace(model.config, cooperation=cooperation)
    if model.cooperation is not None:
        model.cooperation.config = cooperation


def _set_tracking(model: CoopTrack, **changes: Any) -> None:
    tracking = dataclasses.replace(model.config.tracking, **changes)
    model.config = dataclasses.replace(model.config, tracking=tracking)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Round both files together: the cooperative one names the rounded sender."""
    ids = {}
    sender = ''
    agent, cooperative = load_weights(options.agent), load_weights(options.cooperative)
    if options.agent_threshold is not None:
        _set_tracking(agent, score_threshold=options.agent_threshold)
    for name in ('velocity_gain', 'first_velocity_gain', 'across_velocity'):
        value = getattr(options, name)
        if value is not None:
            _set_tracking(agent, **{name: value})
            _set_tracking(cooperative, **{name: value})
    if options.remember is not None:
        for model in (agent, cooperative):
            before = model.config.tracking.permanence
            _set_tracking(model, permanence=dataclasses.replace(before, seconds=options.remember))
    for name in ('max_age', 'fade', 'reappear_within'):
        value = getattr(options, name)
        if value is not None:
            _set_tracking(cooperative, **{name: value})
    if options.score_bias:
        _set_cooperation(cooperative, score_bias=tuple(options.score_bias))
    if options.unseen_bias is not None:
        _set_cooperation(cooperative, unseen_bias=options.unseen_bias)
    if options.remote_weight is not None:
        _set_cooperation(cooperative, remote_weight=options.remote_weight)
    if options.sender_word is not None:
        _set_cooperation(cooperative, sender_word=options.sender_word)
    if options.vehicle_spread:
        known = cooperative.config.cooperation
        placement = (known and known.placement) or PlacementConfig()
        spread = dataclasses.replace(placement, vehicle=tuple(options.vehicle_spread))
        _set_cooperation(cooperative, placement=spread)
    if options.code_data:
        code = code_of_messages(agent, options.code_data, options.code_bits)
        agent, cooperative = with_code(agent, code), with_code(cooperative, code)
        terminal.say(f'compact messages: {len(code.bits)} numbers, {code.bits.sum()} bits')
    elif agent.feature_code is not None:
        cooperative = with_code(cooperative, agent.feature_code.code())
    for model, source, name in (
        (agent, options.agent, AGENT_WEIGHTS),
        (cooperative, options.cooperative, COOPERATIVE_WEIGHTS),
    ):
        own = {'config', 'model_id', 'sender_model_id'}
        metadata = {k: v for k, v in read_metadata(source).items() if k not in own}
        if sender:
            metadata['sender_model_id'] = sender
        target = options.output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        ids[name] = save_weights(model, target, metadata=metadata, half=True)
        sender = sender or ids[name]
        terminal.say(f'{target}: {target.stat().st_size / 1e6:.1f} MB, model {ids[name]}')
    emit_json({'model_ids': ids}, options.json)
    return 0
