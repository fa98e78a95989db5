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

"""CoopTrack without one of its parts: what each of them is worth.

The rows are those of the paper's ablation (reference section 7: pipeline, MDFE, CAA, GBA, length
of the history). A part can be left out of weights that were trained with it, which says what the
trained network leans on, or of weights that were trained without it for as long, which is the
paper's question: ``cooptrack train --without``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cooptrack_core.errors import InputError
from cooptrack_core.models.cooptrack.config import ModelConfig, PartsConfig
from cooptrack_core.models.cooptrack.model import CoopTrack

# Parts that can be left out, alone or together.
PARTS = ('mdfe', 'caa', 'gba')
_HISTORIES = tuple(f'history_{slots}' for slots in range(4))
VARIANTS = (
    'without_mdfe_caa_gba',
    'without_caa_gba',
    'without_mdfe_gba',
    'without_gba',
    'without_mdfe',
    'without_caa',
    *_HISTORIES,
)


def leave_out(config: ModelConfig, parts: Sequence[str]) -> ModelConfig:
    """Return the configuration without some parts.

    Args:
        config: With cooperation.
        parts: Of ``mdfe``, ``caa``, ``gba`` and ``history_0`` to ``history_3``.

    Raises:
        InputError: A part is unknown, or the model does not have it.
    """
    known = PARTS + _HISTORIES
    for part in parts:
        if part not in known:
            raise InputError(
                f"there is no part '{part}'", field='without', remedy=f'known: {", ".join(known)}'
            )
    if config.cooperation is None or config.cooperation.fusion != 'instances':
        raise InputError(
            "only CoopTrack's cooperation has these parts",
            field='without',
            remedy='give cooperative weights, or the cooperative stage',
        )
    slots = [int(part.split('_')[1]) for part in parts if part in _HISTORIES]
    kept = PartsConfig(
        mdfe=config.parts.mdfe and 'mdfe' not in parts,
        caa=config.parts.caa and 'caa' not in parts,
        history=min(slots) if slots else config.parts.history,
    )
    cooperation = config.cooperation
    if 'gba' in parts:
        cooperation = dataclasses.replace(cooperation, matching='rule')
    return dataclasses.replace(config, parts=kept, cooperation=cooperation)


def parts_of(variant: str) -> tuple[str, ...]:
    """Parts that a variant of ``VARIANTS`` goes without."""
    if variant in _HISTORIES:
        return (variant,)
    return tuple(variant.removeprefix('without_').split('_'))


def without(model: CoopTrack, parts: Sequence[str]) -> CoopTrack:
    """Return a model of the same weights without some parts; see :func:`leave_out`."""
    changed = CoopTrack(leave_out(model.config, parts))
    changed.load_state_dict(model.state_dict())
    return changed.train(model.training)
