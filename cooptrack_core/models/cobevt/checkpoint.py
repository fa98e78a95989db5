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

"""Official weights of CoBEVT in, our own weights in and out. Loading runs no code of a file.

The official state dict and ours are related by the map in ``official_names.py`` alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cooptrack_core.config import from_mapping
from cooptrack_core.errors import InputError
from cooptrack_core.models.checkpoint import check_keys, identity, read_safetensors, write_weights
from cooptrack_core.models.cobevt.config import CobevtConfig, official
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.cobevt.official_names import official_name
from cooptrack_core.models.cobevt.quirks import CobevtQuirks
from cooptrack_core.models.official_files import read_official

CONFIG_KEY = 'cobevt_config'
_COMPRESSOR = official_name('compressor.shrink.0.weight')


def to_official_state_dict(model: Cobevt) -> dict[str, Tensor]:
    """State dict of a model of official shape under the official names.

    Raises:
        InputError: The model has parts the official one does not know.
    """
    try:
        return {official_name(k): v for k, v in model.state_dict().items()}
    except KeyError as error:
        raise InputError(
            f'{error.args[0]} has no counterpart in the official model',
            remedy='export models of the released shape only',
        ) from None


def load_official(
    source: str | Path | Mapping[str, Any], quirks: CobevtQuirks | None = None
) -> Cobevt:
    """Load released weights into a model that behaves as released.

    Which of the networks it is (dynamic or static, compressed or not, cooperative or the
    single-vehicle ``fax``) is read from its parts.

    Args:
        source: A ``.pth`` file, or its content: a state dict, or a mapping with ``state_dict``.
        quirks: All by default; others than those the weights know cost accuracy.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: The file cannot be read safely, or its keys, shapes or index tables are not
            those of the released model; each is named together with its counterpart here.
    """
    path = source if isinstance(source, (str, Path)) else None
    state = read_official(source)
    dynamic = 'seg_head.dynamic_head.weight' in state or 'seg_head.static_head.weight' not in state
    model = Cobevt(
        official(
            'dynamic' if dynamic else 'static',
            compression=_compression(state, path),
            cooperative=any(key.startswith('fusion_net.') for key in state),
            quirks=quirks,
        )
    )
    own = model.state_dict()
    names = {official_name(k): k for k in own}
    expected = {n: tuple(own[k].shape) for n, k in names.items()}
    check_keys(state, expected, names, model.config.name, path)
    for name, key in names.items():
        if key.endswith('_index') and not torch.equal(state[name], own[key]):
            raise InputError(
                'the index table orders pairs of tokens in another way',
                path=path,
                field=name,
                remedy='use the released file',
            )
    model.load_state_dict({names[n]: v for n, v in state.items()}, strict=True)
    return model.eval()


def _compression(state: Mapping[str, Tensor], path: str | Path | None) -> int:
    if _COMPRESSOR not in state:
        return 0
    out, channels = state[_COMPRESSOR].shape[:2]
    if not out or channels % out:
        raise InputError(
            f'{channels} channels are compressed to {out}, which is no whole ratio',
            path=path,
            field=_COMPRESSOR,
            remedy='use a ratio of 8, 16, 32 or 64',
        )
    return int(channels // out)


def model_id(model: Cobevt) -> str:
    """Hash over configuration and weights, 16 hex digits.

    Feature maps of another model mean nothing, so messages carry it and receivers compare it.
    """
    return identity(_config_json(model.config), model)


def save_weights(
    model: Cobevt,
    path: str | Path,
    *,
    metadata: Mapping[str, str] | None = None,
    half: bool = False,
) -> str:
    """Write weights and configuration as safetensors; whole or not at all.

    Args:
        model: The model; its fusion must be FuseBEVT or none.
        path: Target file.
        metadata: Further text entries, for example how it was trained.
        half: Store float16 (half the size). Rounds the weights of ``model`` itself, so that the
            model id is that of what will be loaded.

    Returns:
        The model id.

    Raises:
        InputError: The file cannot be written.
    """
    return write_weights(model, path, CONFIG_KEY, _config_json(model.config), metadata, half)


def load_weights(path: str | Path) -> Cobevt:
    """Read weights written by ``save_weights``.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: No such file, no such format, damaged, or not of CoBEVT.
    """
    metadata, state = read_safetensors(path)
    if CONFIG_KEY not in metadata:
        raise InputError(
            'the file holds no weights of CoBEVT',
            path=path,
            field=CONFIG_KEY,
            remedy='give weights of a map model; those of CoopTrack track objects',
        )
    model = Cobevt(from_mapping(CobevtConfig, json.loads(metadata[CONFIG_KEY]), path=path))
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    check_keys(state, expected, {k: k for k in expected}, model.config.name, path)
    model.load_state_dict(state, strict=True)
    model.eval()
    if metadata.get('model_id') != identity(metadata[CONFIG_KEY], model):
        raise InputError(
            'the weights do not belong to the model id in the file',
            path=path,
            field='model_id',
            remedy='the file was changed or damaged; get it again',
        )
    return model


def _config_json(config: CobevtConfig) -> str:
    return json.dumps(dataclasses.asdict(config), sort_keys=True)
