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

"""The shipped weights load, belong together, and half precision keeps its identity."""

from __future__ import annotations

from pathlib import Path

import torch

from cooptrack_core.models.checkpoint import (
    load_weights,
    model_id,
    read_metadata,
    save_weights,
)
from cooptrack_core.resources import weights_path
from cooptrack_core.training.run import model_config


def test_the_cooperative_model_understands_the_shipped_agent():
    agent, cooperative = (
        weights_path(f'tiny_{name}.safetensors') for name in ('agent', 'cooperative')
    )
    assert read_metadata(cooperative)['sender_model_id'] == read_metadata(agent)['model_id']
    assert load_weights(agent).config.bev == model_config('tiny').bev
    assert agent.stat().st_size + cooperative.stat().st_size < 20e6


def test_half_precision_files_load_with_the_id_they_name(tmp_path: Path):
    model = load_weights(weights_path('tiny_agent.safetensors'))
    with torch.no_grad():
        model.decoder.class_heads[0][0].weight.add_(1e-5)  # something float16 cannot hold
    path = tmp_path / 'half.safetensors'
    identity = save_weights(model, path, half=True)
    assert identity == model_id(model) == model_id(load_weights(path))
