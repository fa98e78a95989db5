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

"""The one map between our parameter names and the official ones.

``NAME_MAP`` holds pairs of name beginnings, ``{i}`` standing for a layer number. Everything after
the beginning is the same on both sides. Source: reference section 5.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_HEAD = 'pts_bbox_head.'
_TRANSFORMER = 'pts_bbox_head.transformer.'
_ENCODER = 'pts_bbox_head.transformer.encoder.layers.{i}.'
_DECODER = 'pts_bbox_head.transformer.decoder.layers.{i}.'


def _reasoning(ours: str, official: str) -> tuple[tuple[str, str], ...]:
    a, b = f'reasoning.{ours}.layers.{{i}}.', f'STReasoner.{official}.decoder.layers.{{i}}.'
    return (
        (a + 'self_attention.', b + 'attentions.0.attn.'),
        (a + 'cross_attention.', b + 'attentions.1.attn.'),
        (a + 'ffn.expand.', b + 'ffns.0.layers.0.0.'),
        (a + 'ffn.contract.', b + 'ffns.0.layers.1.'),
        (a + 'norms.', b + 'norms.'),
        (f'reasoning.{ours}.norm.', f'STReasoner.{official}.decoder.post_norm.'),
    )


# (ours, official)
NAME_MAP: tuple[tuple[str, str], ...] = (
    ('backbone.', 'img_backbone.'),
    ('neck.lateral.', 'img_neck.lateral_convs.0.conv.'),
    ('neck.output.', 'img_neck.fpn_convs.0.conv.'),
    # Learnt queries
    ('learnt.refs.', 'reference_points.'),
    ('learnt.feats.', 'query_feat_embedding.'),
    ('learnt.position_mlp.', 'query_embedding.'),
    # BEV encoder
    ('bev_encoder.queries.', _HEAD + 'bev_embedding.'),
    ('bev_encoder.row_embedding.', _HEAD + 'positional_encoding.row_embed.'),
    ('bev_encoder.column_embedding.', _HEAD + 'positional_encoding.col_embed.'),
    ('bev_encoder.level_embeddings', _TRANSFORMER + 'level_embeds'),
    ('bev_encoder.camera_embeddings', _TRANSFORMER + 'cams_embeds'),
    ('bev_encoder.can_bus_mlp.0.', _TRANSFORMER + 'can_bus_mlp.0.'),
    ('bev_encoder.can_bus_mlp.2.', _TRANSFORMER + 'can_bus_mlp.2.'),
    ('bev_encoder.can_bus_mlp.4.', _TRANSFORMER + 'can_bus_mlp.norm.'),
    ('bev_encoder.layers.{i}.temporal.', _ENCODER + 'attentions.0.'),
    ('bev_encoder.layers.{i}.spatial.output_proj.', _ENCODER + 'attentions.1.output_proj.'),
    ('bev_encoder.layers.{i}.spatial.', _ENCODER + 'attentions.1.deformable_attention.'),
    ('bev_encoder.layers.{i}.ffn.expand.', _ENCODER + 'ffns.0.layers.0.0.'),
    ('bev_encoder.layers.{i}.ffn.contract.', _ENCODER + 'ffns.0.layers.1.'),
    ('bev_encoder.layers.{i}.norms.', _ENCODER + 'norms.'),
    # Decoder
    ('decoder.layers.{i}.self_attention.', _DECODER + 'attentions.0.attn.'),
    ('decoder.layers.{i}.cross_attention.', _DECODER + 'attentions.1.'),
    ('decoder.layers.{i}.ffn.expand.', _DECODER + 'ffns.0.layers.0.0.'),
    ('decoder.layers.{i}.ffn.contract.', _DECODER + 'ffns.0.layers.1.'),
    ('decoder.layers.{i}.norms.', _DECODER + 'norms.'),
    ('decoder.class_heads.{i}.', _HEAD + 'cls_branches.{i}.'),
    ('decoder.box_heads.{i}.', _HEAD + 'reg_branches.{i}.'),
    # Motion features, reasoning, refine heads
    ('mdfe.corner_net.', 'MotionExtractor.pointnet.'),
    ('mdfe.velocity_net.', 'MotionExtractor.velonet.'),
    ('mdfe.fusion.', 'MotionExtractor.fusion_net.'),
    *_reasoning('temporal', 'hist_temporal_transformer'),
    *_reasoning('spatial', 'spatial_transformer'),
    *_reasoning('motion', 'hist_motion_transformer'),
    ('reasoning.time_mlp.', 'STReasoner.ts_query_embed.'),
    ('refine.to_logits.', 'STReasoner.track_cls.'),
    ('refine.to_box.', 'STReasoner.track_reg.'),
    # Cooperation
    ('cooperation.align.rotation_mlp.', 'crossview_alignment.rot_mlp.'),
    ('cooperation.align.translation_mlp.', 'crossview_alignment.trans_mlp.'),
    ('cooperation.align.inputs.feats.', 'crossview_alignment.feat_input_proj.'),
    ('cooperation.align.inputs.embeds.', 'crossview_alignment.embed_input_proj.'),
    ('cooperation.align.inputs.motion.', 'crossview_alignment.motion_input_proj.'),
    ('cooperation.align.outputs.feats.', 'crossview_alignment.feat_output_proj.'),
    ('cooperation.align.outputs.embeds.', 'crossview_alignment.embed_output_proj.'),
    ('cooperation.align.outputs.motion.', 'crossview_alignment.motion_output_proj.'),
    ('cooperation.associate.ego_node.', 'STReasoner.get_node_veh.'),
    ('cooperation.associate.remote_node.', 'STReasoner.get_node_inf.'),
    ('cooperation.associate.edge.', 'STReasoner.get_edge.'),
    ('cooperation.associate.query_weight', 'STReasoner.wq'),
    ('cooperation.associate.key_weight', 'STReasoner.wk'),
    ('cooperation.associate.edge_weight', 'STReasoner.we'),
    ('cooperation.associate.affinity.', 'STReasoner.ffn.'),
    ('cooperation.aggregate.fuse_feats.', 'STReasoner.fuse_feats.'),
    ('cooperation.aggregate.fuse_motion.', 'STReasoner.fuse_motion.'),
    ('cooperation.aggregate.fuse_embeds.', 'STReasoner.fuse_embed.'),
    ('cooperation.aggregate.cross_feats.', 'STReasoner.cross_domain_query.'),
    ('cooperation.aggregate.cross_motion.', 'STReasoner.cross_domain_motion.'),
    # Released but never used
    ('unused.criterion_code_weights', 'criterion.code_weights'),
    ('unused.head_code_weights', _HEAD + 'code_weights'),
    ('unused.bev_embed_linear.', 'bev_embed_linear.'),
    ('unused.bev_pos_linear.', 'bev_pos_linear.'),
    ('unused.dummy_node.', 'STReasoner.get_dummy_node.'),
    ('unused.dummy_points.', 'STReasoner.get_dummy_pts.'),
)


def official_name(name: str) -> str:
    """Return the official name of one of our parameters or buffers.

    Raises:
        KeyError: The official model has nothing of that kind.
    """
    return translated(name, NAME_MAP)


def translated(name: str, name_map: Iterable[tuple[str, str]]) -> str:
    """Replace the beginning of a name; ``{i}`` in a map stands for a number.

    Args:
        name: Of a parameter or buffer.
        name_map: Beginnings, ours and official; the first that fits counts.

    Raises:
        KeyError: No beginning fits.
    """
    for ours, official in name_map:
        pattern = re.escape(ours).replace(re.escape('{i}'), r'(\d+)')
        match = re.match(pattern, name)
        if match:
            beginning = official.replace('{i}', match.group(1) if match.groups() else '')
            return beginning + name[match.end() :]
    raise KeyError(name)
