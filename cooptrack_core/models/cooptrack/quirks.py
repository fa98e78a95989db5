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

"""Everything the official code does that its weights depend on, one switch each.

All switches are off by default: then the model does what is right. ``OfficialQuirks.official()``
turns every one on and reproduces the released model. Section numbers are those of the official
code's description in the documentation.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class OfficialQuirks:
    """Switches; True reproduces the official behaviour named in the comment."""

    # Images and projection (2.1, 2.4).
    # Pixel coordinates count from the image corner: resizing scales the projection about (0, 0)
    # and u / width is sampled, so everything sits half a pixel off.
    pixels_from_corner: bool = False

    # BEV memory (2.3, 2.4).
    # The shift of the previous BEV assumes a LiDAR whose y axis points forward (nuScenes); here x
    # does, so the memory is moved along the wrong axis.
    shift_along_wrong_axis: bool = False
    # The previous BEV is turned about cell (100, 100), outside the 50 x 50 grid, nearest cell.
    rotate_about_cell_100: bool = False
    # The shift is added in place, so the current BEV is sampled at shifted places too.
    shift_both_queues: bool = False
    # With a previous BEV, layers after the first attend to the initial current BEV.
    stale_current_bev: bool = False
    # The yaw change of can_bus is not wrapped: 359 to 1 degree is a turn of -358.
    unwrapped_yaw_delta: bool = False
    # With more than one frame in a batch, offsets are predicted from rows of mixed samples.
    temporal_attention_mixes_batch: bool = False
    # Cells seen by the first frame of a batch are used for all of them.
    visibility_of_first_sample: bool = False
    # In training a zero BEV stands for "no previous frame"; inference passes none.
    zero_bev_starts_training: bool = False

    # Alignment and association (2.10, 2.11).
    # The latent rotation and translation end in a ReLU, so no entry is ever negative.
    nonnegative_alignment: bool = False
    # The node product is not divided by the square root of its length.
    unscaled_affinity: bool = False
    # Every pair of the assignment is accepted, however low its affinity.
    accept_all_pairs: bool = False
    # At inference all vehicle queries are candidates, background included.
    no_score_mask_at_inference: bool = False
    # The score mask of rule matching is overwritten before use.
    rule_matching_ignores_scores: bool = False
    # A remote instance that is the receiver itself is kept.
    keep_ego_in_remotes: bool = False
    # As many vehicle queries are dropped as instances arrive, live tracks among them.
    complement_drops_tracks: bool = False

    # Life cycle (2.13).
    # A gap above half a second drops the memory: at 2 Hz that is nearly every frame.
    resets_above_half_a_second: bool = False
    # Box yaw and velocity of carried tracks do not turn with the ego.
    box_heading_stays: bool = False
    # Relative poses are computed in float32 from large world coordinates.
    float32_poses: bool = False
    # Learnt queries that make room for tracks are chosen by torch.randperm, at inference too.
    random_empty_queries: bool = False
    # Every query gets an id every frame, so ids jump by the number of queries.
    ids_for_background: bool = False

    # Training (4.4); read by the training stages.
    # Fusion pairs in training come from the 3.5 m rule instead of the learnt affinity (unless
    # the training stage says which).
    rule_pairs_in_training: bool = False
    # The alpha term of the association focal loss is disabled (the paper has 0.5).
    association_alpha_off: bool = False
    # The cooperative stage leaves decoder layers unsupervised and counts the fused loss twice.
    cooperative_decoder_unsupervised: bool = False
    # The overlap that decides whether a track lives on is refreshed only when a new object was
    # matched in the same call.
    stale_overlap: bool = False

    @staticmethod
    def official() -> OfficialQuirks:
        """All switches on: the model as released."""
        return OfficialQuirks(**{f.name: True for f in dataclasses.fields(OfficialQuirks)})
