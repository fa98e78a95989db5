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

"""CoBEVT: from several agents' camera rings to one semantic map around the ego.

Source: Xu et al., "CoBEVT: Cooperative Bird's Eye View Semantic Segmentation with Sparse
Transformers", 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cooptrack_core.models.backbones.efficientnet import EfficientNetB4
from cooptrack_core.models.backbones.resnet import ResNet, resnet34, small_resnet
from cooptrack_core.models.cobevt.compressor import MapCompressor
from cooptrack_core.models.cobevt.config import CobevtConfig, RingBackboneConfig, Target
from cooptrack_core.models.cobevt.decoder import MapDecoder, make_head
from cooptrack_core.models.cobevt.fusebevt import FuseBevt
from cooptrack_core.models.cobevt.interface import MapInputs, MapOutputs
from cooptrack_core.models.cobevt.sinbevt import SinBevt
from cooptrack_core.models.cobevt.unused import UnusedCobevt
from cooptrack_core.models.cobevt.warp import covered, source_cells, warp
from cooptrack_core.models.fusion.map_operator import MapFusion
from cooptrack_core.models.fusion.map_operators import build_operator


class Cobevt(nn.Module):
    """Encode, send, fuse, decode.

    ``model(inputs)`` does it for whole scenes. Live, the steps are taken one by one: a sender
    calls ``encode`` and ``compress``, the receiver ``decompress``, ``fuse`` and ``decode``.

    Args:
        config: Sizes and quirks.
        fusion: Operator in place of FuseBEVT; a module becomes part of the model.
    """

    def __init__(self, config: CobevtConfig, fusion: MapFusion | None = None) -> None:
        super().__init__()
        self.config = config
        self.channels_last = False  # see inference.py
        # Takes the place of the backbone where another engine runs it (models/backends.py).
        self.image_network: Callable[[Tensor], list[Tensor]] | None = None
        self.backbone = _backbone(config.backbone)
        levels = config.backbone.levels
        self.sinbevt = SinBevt(config, [self.backbone.out_channels[i] for i in levels])
        self.compressor = None
        if config.compression:
            self.compressor = MapCompressor(config.channels, config.compression)
        self.fusion: MapFusion | None = fusion
        if fusion is None and config.fusion is not None:
            if config.operator == 'fusebevt':
                self.fusion = FuseBevt(config.channels, config.fusion, config.quirks)
            elif config.operator != 'no_fusion':
                self.fusion = build_operator(config.operator, config.channels)
        self.decoder = MapDecoder(config.channels, config.decoder)
        trunk = config.decoder.channels[-1]
        self.heads = nn.ModuleDict({t: make_head(trunk, t) for t in config.targets})
        self.unused = UnusedCobevt(config) if config.keep_unused else None

    def encode(
        self,
        images: Tensor,
        intrinsics: Tensor,
        agent_T_camera: Tensor,
        cameras_valid: Tensor | None = None,
    ) -> Tensor:
        """Feature maps of A agents in their own frames.

        Args:
            images: (A, N, 3, h, w) normalised; those of cameras that are not valid are not read.
            intrinsics: (A, N, 3, 3), pixels of these images.
            agent_T_camera: (A, N, 4, 4), optical frame to agent frame.
            cameras_valid: (A, N) bool; None for all. The map of an agent without any camera is
                one that knows nothing; ``forward`` leaves it out.

        Returns:
            (A, C, H, W), before compression.
        """
        flat = images.flatten(0, 1)
        if cameras_valid is None or bool(cameras_valid.all()):
            levels = self._image_features(flat)
            return self._sinbevt(levels, intrinsics, agent_T_camera, None)
        seen = cameras_valid.flatten()
        # What stands in a camera that is not valid may be anything, NaN included.
        unseen = ~cameras_valid[..., None, None]
        eye3, eye4 = (torch.eye(n).to(intrinsics) for n in (3, 4))
        intrinsics = torch.where(unseen, eye3, intrinsics)
        agent_T_camera = torch.where(unseen, eye4, agent_T_camera)
        if bool(seen.any()):
            found = self._image_features(flat[seen])
        else:
            found = [level[:0] for level in self._image_features(torch.zeros_like(flat[:1]))]
        levels = []
        for level in found:
            level_of_all = level.new_zeros(seen.numel(), *level.shape[1:])
            level_of_all[seen] = level
            levels.append(level_of_all)
        return self._sinbevt(levels, intrinsics, agent_T_camera, cameras_valid)

    def compress(self, features: Tensor) -> Tensor:
        """What goes on the air: (A, C, H, W) to (A, C / ratio, H, W)."""
        return features if self.compressor is None else self.compressor.compress(features)

    def decompress(self, sent: Tensor) -> Tensor:
        """What came over the air: (A, C / ratio, H, W) to (A, C, H, W)."""
        return sent if self.compressor is None else self.compressor.decompress(sent)

    def fuse(
        self, features: Tensor, ego_T_agent: Tensor, agents_valid: Tensor | None = None
    ) -> Tensor:
        """One map of the maps of one scene's agents.

        Args:
            features: (A, C, H, W) after ``decompress``, each in its agent's frame; the ego first.
            ego_T_agent: (A, 4, 4) agent frame to the ego's; the ego's own is the identity.
            agents_valid: (A,) bool; False leaves an agent out, also the ego. None for all.

        Returns:
            (C, H, W) around the ego. Without a fusion operator the ego's own map.
        """
        present = None if agents_valid is None else agents_valid[None]
        warped = self.align(features[None], ego_T_agent[None], present)
        return self._fused(features[None], warped, ego_T_agent[None])[0]

    def align(
        self, maps: Tensor, ego_T_agent: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Put maps on the cells of their scene's ego.

        Args:
            maps: (B, L, C, H, W), slot 0 is the ego.
            ego_T_agent: (B, L, 4, 4).
            present: (B, L) bool, slots that hold an agent; None for all.

        Returns:
            Warped maps (B, L, C, H, W) and valid (B, L, H, W) bool.
        """
        config = self.config
        cells = source_cells(ego_T_agent, config.features, config.quirks)
        valid = covered(cells, config.quirks)
        if present is not None:
            valid = valid & present[..., None, None]
        warped = warp(maps.flatten(0, 1), cells.flatten(0, 1), config.quirks)
        return warped.view_as(maps), valid

    def decode(self, fused: Tensor) -> dict[Target, Tensor]:
        """Logits by target.

        Args:
            fused: (B, C, H, W), or one (C, H, W).

        Returns:
            (B, classes, rows, columns), or (classes, rows, columns), each.
        """
        trunk = self.decoder(fused if fused.ndim == 4 else fused[None])
        logits: dict[Target, Tensor] = {t: self.heads[t](trunk) for t in self.config.targets}
        return logits if fused.ndim == 4 else {t: x[0] for t, x in logits.items()}

    def forward(self, inputs: MapInputs) -> MapOutputs:
        """Maps of whole scenes.

        An agent without any valid camera has nothing to say: it is left out of the fusion, and if
        it is the ego, the map rests on the others.
        """
        rings = inputs.rings
        features = self.encode(
            rings.images, rings.intrinsics, rings.agent_T_camera, rings.cameras_valid
        )
        return self.combine(
            features, inputs.ego_T_agent, inputs.counts, rings.cameras_valid.any(1)
        )

    def combine(
        self, features: Tensor, ego_T_agent: Tensor, counts: Sequence[int], sees: Tensor
    ) -> MapOutputs:
        """Maps of whole scenes from what ``encode`` made of their agents.

        Args:
            features: (A, C, H, W).
            ego_T_agent: (A, 4, 4).
            counts: Agents of each scene.
            sees: (A,) bool, agents with a camera.
        """
        if self.compressor is not None:
            features = self.compressor(features)
        maps = _slots(features, counts)
        poses = _slots(ego_T_agent, counts, torch.eye(4))
        aligned = None
        if self.fusion is not None:
            aligned = self.align(maps, poses, _slots(sees, counts))
        fused = self._fused(maps, aligned, poses)
        decoded = self.decoder(fused)
        warped, valid = aligned or (None, None)
        logits: dict[Target, Tensor] = {t: self.heads[t](decoded) for t in self.config.targets}
        return MapOutputs(features, warped, valid, fused, decoded, logits)

    def _image_features(self, images: Tensor) -> list[Tensor]:
        if self.image_network is not None:
            return self.image_network(images)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        levels = self.backbone(images)
        return [levels[i] for i in self.config.backbone.levels]

    def _sinbevt(
        self, levels: list[Tensor], intrinsics: Tensor, poses: Tensor, valid: Tensor | None
    ) -> Tensor:
        out: Tensor = self.sinbevt(levels, intrinsics, poses, valid)
        return out

    def _fused(self, maps: Tensor, aligned: tuple[Tensor, Tensor] | None, poses: Tensor) -> Tensor:
        if self.fusion is None or aligned is None:
            return maps[:, 0]
        return self.fusion(*aligned, poses)


def _slots(x: Tensor, counts: Sequence[int], fill: Tensor | None = None) -> Tensor:
    """Agents (A, ...) of scenes as (B, L, ...), empty slots zero or ``fill``."""
    longest = max(counts)
    if all(count == longest for count in counts):
        return torch.unflatten(x, 0, (len(counts), longest))
    empty = x.new_zeros(x.shape[1:]) if fill is None else fill.to(x)
    scenes = [
        torch.cat([agents, empty.expand(longest - len(agents), *empty.shape)])
        for agents in torch.split(x, list(counts))
    ]
    return torch.stack(scenes)


def _backbone(config: RingBackboneConfig) -> ResNet | EfficientNetB4:
    stages = max(config.levels) + 1
    if config.kind == 'resnet34':
        return resnet34(stages=stages)
    if config.kind == 'efficientnet_b4':
        return EfficientNetB4(stages)
    return small_resnet(config.widths, config.blocks, stages=stages)
