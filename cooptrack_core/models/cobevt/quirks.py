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

"""Everything the released CoBEVT code does that its weights depend on, one switch each.

All switches are off by default: then the model does what is right. ``CobevtQuirks.official()``
turns every one on and reproduces the released model. Section numbers are those of the reference.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class CobevtQuirks:
    """Switches; True reproduces the official behaviour named in the comment."""

    # Camera ring (2.1, 2.2).
    # Intrinsics stay those of the image before it was resized.
    unscaled_intrinsics: bool = False
    # Camera axes are Unreal's (forward, right, up) in a left-handed body frame, and are read as
    # those of an optical frame: every camera seems to look at the sky.
    unreal_camera_axes: bool = False
    # Camera poses are given in the body frame of the receiver, whoever's cameras they are; the
    # warp then moves the map once more.
    cameras_in_receiver_frame: bool = False
    # Pixels of a feature map span the image from edge to edge, not from centre to centre; images
    # are resized bilinearly.
    pixels_from_edges: bool = False
    # The same for the cells of the BEV queries: the outer ones sit on the rim of the map.
    cells_from_edges: bool = False
    # Zeros that fill up a feature map to whole windows are looked at (only sizes that need them).
    padding_is_seen: bool = False

    # Alignment (5).
    # Maps move by the poses of the LiDARs, which are half a metre behind the bodies they show.
    maps_move_with_lidars: bool = False
    # Maps turn about the corner between the four middle cells plus one, half a cell off.
    warp_about_cell_corner: bool = False
    # Warped maps fade to zero over half a cell at their rim.
    warp_fades_at_rim: bool = False
    # The mask of seen cells is transposed and flipped against the maps it belongs to.
    mask_transposed: bool = False

    # FuseBEVT (3).
    # Fused is padded to as many agents as the bias table knows, and the result is the mean over
    # all slots, empty ones and cells outside of an agent's map included.
    mean_over_all_slots: bool = False
    # The bias tells agents by their slot, so that the order of the remote ones matters. Otherwise
    # it knows: same agent, receiver looks at another, another at the receiver, others.
    agents_by_slot: bool = False

    @staticmethod
    def official() -> CobevtQuirks:
        """All switches on: the model as released."""
        return CobevtQuirks(**{f.name: True for f in dataclasses.fields(CobevtQuirks)})
