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

"""Backbone weights of others, under torchvision's names."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from cooptrack_core.errors import InputError
from cooptrack_core.models.official_files import read_official

_CLASSIFIERS = ('fc.', 'classifier.')
_OWN = '.conv_offset.'  # deformable parts; a plain backbone has none, and they start at zero
_PREFIXES = ('', 'backbone.', 'img_backbone.')


def load_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Fill a backbone from a ``.pth`` file of torchvision or of a detector that contains one.

    The classifier of the file is left out; deformable offsets that it lacks keep their start.

    Args:
        backbone: Of a model.
        path: A state dict; names may begin with ``backbone.`` or ``img_backbone.``.

    Raises:
        InputError: The file cannot be read, or names or shapes do not fit.
    """
    state = read_official(path)
    own = backbone.state_dict()
    needed = [name for name in own if _OWN not in name]
    prefix = next((p for p in _PREFIXES if p + needed[0] in state), None)
    if prefix is None:
        raise InputError(
            f'the file has no {needed[0]}, neither alone nor behind {_PREFIXES[1:]}',
            path=path,
            field=needed[0],
            remedy='use weights of the same backbone with the names of torchvision',
        )
    found = {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith(prefix) and not name.removeprefix(prefix).startswith(_CLASSIFIERS)
    }
    # Old files do not count batches; nothing uses the number.
    missing = [n for n in needed if n not in found and not n.endswith('num_batches_tracked')]
    unexpected = [n for n in found if n not in own]
    wrong = [n for n in own if n in found and found[n].shape != own[n].shape]
    if missing or unexpected or wrong:
        name = (missing or unexpected or wrong)[0]
        raise InputError(
            f'{len(missing)} missing, {len(unexpected)} unexpected and {len(wrong)} misshaped '
            f'weights for this backbone, first {name}',
            path=path,
            field=name,
            remedy='use weights of the same backbone',
        )
    backbone.load_state_dict({n: found.get(n, value) for n, value in own.items()})
