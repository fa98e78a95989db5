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

"""The feature code of an agent's messages, fitted to what the agent says on training scenes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.models.cooptrack.interface import message_fields
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.messages import Sender
from cooptrack_core.v2x.feature_code import FeatureCode, fit_code

MAX_SCENES = 60  # enough for a covariance of a few hundred numbers


def code_of_messages(agent: CoopTrack, roots: Sequence[Path], bits: int) -> FeatureCode:
    """Fit a code to the messages of roadside units.

    Args:
        agent: The sender, at its operating point.
        roots: Training datasets; the first scenes are played.
        bits: Per instance.

    Raises:
        InputError: The data are unusable, or the agent says nothing on them.
    """
    data = TrainingData(roots, agent.config.image.width, agent.config.range)
    sender = Sender(agent, data, torch.device('cpu'), 'off')
    rows: list[NDArray[np.float32]] = []
    for clip in data.clips('roadside', 1):
        if clip.scene >= MAX_SCENES:
            break
        said = message_fields(sender.message(clip.scene, clip.agent_id, clip.frames[0]).live)
        parts = [said[n].numpy() for n in ('query_feats', 'query_embeds', 'cache_motion_feats')]
        rows.append(np.concatenate(parts, 1))
    features = np.concatenate(rows) if rows else np.zeros((0, 3), dtype=np.float32)
    if len(features) < 2 or bits < 1:
        raise InputError(
            f'{len(features)} instances and {bits} bits give no feature code',
            path=roots[0],
            field='--code-data, --code-bits',
            remedy='give training scenes with roadside units, and at least one bit',
        )
    return fit_code(features, bits)


def with_code(model: CoopTrack, code: FeatureCode) -> CoopTrack:
    """The same model with a code in its weights."""
    coded = CoopTrack(dataclasses.replace(model.config, code_numbers=len(code.bits))).eval()
    coded.load_state_dict(model.state_dict(), strict=False)
    assert coded.feature_code is not None  # noqa: S101 - the configuration says so
    coded.feature_code.fill(code)
    return coded
