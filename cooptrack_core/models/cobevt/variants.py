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

"""CoBEVT without some of its parts, for ablations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cooptrack_core.errors import InputError
from cooptrack_core.models.cobevt.config import CobevtConfig

Change = Callable[[CobevtConfig], CobevtConfig]


def _in_fusion(**off: Any) -> Change:
    def change(config: CobevtConfig) -> CobevtConfig:
        if config.fusion is None or config.operator != 'fusebevt':
            return config
        return replace(config, fusion=replace(config.fusion, **off))

    return change


def _in_sinbevt(**off: Any) -> Change:
    return lambda config: replace(config, sinbevt=replace(config.sinbevt, **off))


OF_FUSION = {
    'fuse_local': _in_fusion(local_attention=False),
    'fuse_global': _in_fusion(global_attention=False),
}
OF_SINBEVT = {
    'sin_global': _in_sinbevt(global_attention=False),
    'self_attention': _in_sinbevt(self_attention=False),
    'ground': _in_sinbevt(ground_heights=()),
}


def leave_out(
    config: CobevtConfig, parts: Sequence[str], known: dict[str, Change] | None = None
) -> CobevtConfig:
    """Return the configuration without some parts.

    Args:
        config: Of the whole model.
        parts: Of ``fuse_local`` and ``fuse_global`` (FuseBEVT's attentions in windows and in
            grids), ``sin_global`` (SinBEVT's attention to cells of the whole images),
            ``self_attention`` (of its last map) and ``ground`` (what queries begin with).
        known: Parts that may be left out; default all.

    Raises:
        InputError: A part is not known, or the model does not have it.
    """
    known = OF_FUSION | OF_SINBEVT if known is None else known
    for part in parts:
        if part not in known:
            raise InputError(
                f"there is no part '{part}' to leave out here",
                field='without',
                remedy=f'known: {", ".join(known)}',
            )
        changed = known[part](config)
        if changed == config:
            raise InputError(
                f"the model has no part '{part}'", field='without', remedy='name another'
            )
        config = changed
    return config
