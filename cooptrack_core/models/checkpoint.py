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

"""Official weights in and out, our own weights in and out. Loading runs no code of a file.

The official state dict and ours are related by the map in ``official_names.py`` alone.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from cooptrack_core.config import from_mapping
from cooptrack_core.errors import InputError
from cooptrack_core.files import write_bytes_atomically
from cooptrack_core.models.cooptrack.config import ModelConfig, r50
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks
from cooptrack_core.models.official_files import ROLES, OfficialRole, read_official
from cooptrack_core.models.official_names import official_name


def to_official_state_dict(model: CoopTrack) -> dict[str, Tensor]:
    """State dict of an R50-shaped model under the official names.

    Raises:
        InputError: The model has parts the official one does not know (for example ``lift``).
    """
    try:
        return {official_name(k): v for k, v in model.state_dict().items()}
    except KeyError as error:
        raise InputError(
            f'{error.args[0]} has no counterpart in the official model',
            remedy='export models of the r50 configuration only',
        ) from None


def load_official(source: str | Path | Mapping[str, Any], role: OfficialRole) -> CoopTrack:
    """Load released weights into a model that behaves as released.

    Args:
        source: A ``.pth`` file, or its content: a state dict, or a mapping with ``state_dict``.
        role: Which of the five released models it is.

    Returns:
        The model in evaluation mode with ``OfficialQuirks.official()``.

    Raises:
        InputError: The file cannot be read safely, or its keys or shapes are not those of
            ``role``; each is named together with its counterpart here.
    """
    if role not in ROLES:
        raise InputError(f'unknown role {role!r}', field='role', remedy=f'one of {list(ROLES)}')
    path = source if isinstance(source, (str, Path)) else None
    state = read_official(source)
    model = CoopTrack(r50(role, OfficialQuirks.official()))
    own = model.state_dict()
    names = {official_name(k): k for k in own}
    check_keys(state, {n: tuple(own[k].shape) for n, k in names.items()}, names, role, path)
    model.load_state_dict({names[n]: v for n, v in state.items()}, strict=True)
    return model.eval()


def check_keys(
    state: Mapping[str, Tensor],
    expected: Mapping[str, tuple[int, ...]],
    ours: Mapping[str, str],
    role: str,
    path: str | Path | None,
) -> None:
    """Compare the tensors of a file with those a model needs.

    Args:
        state: The file's.
        expected: Shapes by the file's names.
        ours: Our names by the file's names.
        role: Which model it is, for the text.
        path: The file, for the text.

    Raises:
        InputError: Some are missing, unexpected or misshaped; each is named.
    """
    missing = [k for k in expected if k not in state]
    unexpected = [k for k in state if k not in expected]
    wrong = [k for k in expected if k in state and tuple(state[k].shape) != expected[k]]
    if not (missing or unexpected or wrong):
        return
    lines = []
    for key in missing:
        near = difflib.get_close_matches(key, unexpected, n=1, cutoff=0.8)
        hint = f'; the file has {near[0]}' if near else ''
        lines.append(f'missing {key} (here {ours[key]}){hint}')
    for key in unexpected:
        near = difflib.get_close_matches(key, missing or list(expected), n=1, cutoff=0.6)
        hint = f'; nearest is {near[0]} (here {ours[near[0]]})' if near else ''
        lines.append(f'unexpected {key}{hint}')
    for key in wrong:
        lines.append(
            f'misshaped {key}: {tuple(state[key].shape)} in the file, {expected[key]} here '
            f'({ours[key]})'
        )
    shown = '\n  '.join(lines[:20]) + ('\n  ...' if len(lines) > 20 else '')
    raise InputError(
        f'{len(missing)} missing, {len(unexpected)} unexpected and {len(wrong)} misshaped keys '
        f'for role {role}:\n  {shown}\n',
        path=path,
        field=(missing or unexpected or wrong)[0],
        remedy='check that the file belongs to this role',
    )


def model_id(model: CoopTrack) -> str:
    """Hash over configuration and weights, 16 hex digits.

    Features of another model mean nothing, so messages carry it and receivers compare it.
    """
    return identity(_config_json(model.config), model)


def identity(config: str, model: nn.Module) -> str:
    """Hash over the text of a configuration and the weights, 16 hex digits."""
    digest = hashlib.sha256(config.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_weights(
    model: CoopTrack,
    path: str | Path,
    *,
    metadata: Mapping[str, str] | None = None,
    half: bool = False,
) -> str:
    """Write weights and configuration as safetensors; whole or not at all.

    Args:
        model: The model.
        path: Target file.
        metadata: Further text entries, for example how it was trained.
        half: Store float16 (half the size). Rounds the weights of ``model`` itself, so that the
            model id is that of what will be loaded.

    Returns:
        The model id.

    Raises:
        InputError: The file cannot be written.
    """
    return write_weights(model, path, 'config', _config_json(model.config), metadata, half)


def write_weights(
    model: nn.Module,
    path: str | Path,
    key: str,
    config: str,
    metadata: Mapping[str, str] | None,
    half: bool,
) -> str:
    """Write weights of any model; as ``save_weights``, the configuration as text under ``key``."""
    if half:
        model.load_state_dict({k: _rounded(v).to(v) for k, v in model.state_dict().items()})
    model_hash = identity(config, model)
    entries = {key: config, 'model_id': model_hash, **(metadata or {})}
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    if half:
        tensors = {k: _rounded(v) for k, v in tensors.items()}
    write_bytes_atomically(Path(path), to_safetensors(tensors, metadata=entries))
    return model_hash


def _rounded(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def load_weights(path: str | Path, config: ModelConfig | None = None) -> CoopTrack:
    """Read weights written by ``save_weights``.

    Args:
        path: The safetensors file.
        config: Configuration the weights must have; None takes the file's own.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: No such file, no such format, damaged, or of another configuration.
    """
    metadata, state = read_safetensors(path)
    if 'config' not in metadata:
        raise InputError(
            'the file holds no model configuration',
            path=path,
            field='config',
            remedy='use a file written by cooptrack train or cooptrack import-checkpoint',
        )
    own = from_mapping(ModelConfig, json.loads(metadata['config']), path=path)
    if config is not None:
        _check_config(own, config, path)
        own = config
    model = CoopTrack(own)
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    check_keys(state, expected, {k: k for k in expected}, own.name, path)
    model.load_state_dict(state, strict=True)
    model.eval()
    # The text of the file counts, so that files outlive configuration keys that come later.
    if config is None and metadata.get('model_id') != identity(metadata['config'], model):
        raise InputError(
            'the weights do not belong to the model id in the file',
            path=path,
            field='model_id',
            remedy='the file was changed or damaged; get it again',
        )
    return model


def read_metadata(path: str | Path) -> dict[str, str]:
    """Text entries of a weights file: ``config``, ``model_id`` and what the writer added."""
    return read_safetensors(path, tensors=False)[0]


def read_safetensors(
    path: str | Path, tensors: bool = True
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Text entries and, with ``tensors``, the tensors of a weights file.

    Raises:
        InputError: No such file, no such format, or damaged.
    """
    try:
        with safe_open(str(path), framework='pt', device='cpu') as file:
            names = file.keys() if tensors else ()
            return file.metadata() or {}, {k: file.get_tensor(k) for k in names}
    except (OSError, SafetensorError) as error:
        raise InputError(
            f'cannot read the weights ({error})',
            path=path,
            remedy='check the path; the file may be truncated or of another format',
        ) from error


# What may differ between the file and the wanted configuration without touching the weights.
_FREE = ('tracking', 'dropout', 'name')


def _check_config(found: ModelConfig, wanted: ModelConfig, path: str | Path) -> None:
    for field in dataclasses.fields(ModelConfig):
        a, b = getattr(found, field.name), getattr(wanted, field.name)
        if field.name == 'cooperation' and a is not None and b is not None:
            a, b = (a.fusion, a.block), (b.fusion, b.block)
        if field.name not in _FREE and a != b:
            raise InputError(
                f'the weights are of another configuration: {field.name} is {a} in the file '
                f'and {b} in the configuration',
                path=path,
                field=f'config.{field.name}',
                remedy=f"use the configuration '{found.name}' or other weights",
            )


def _config_json(config: ModelConfig) -> str:
    return json.dumps(dataclasses.asdict(config), sort_keys=True)
