"""The only home of the passes' order."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tensorferry.errors import GraphError, NodeError
from tensorferry.ir import Graph, verify
from tensorferry.passes.activations import fuse_activation, recognise_clips, recognise_symmetric_clips
from tensorferry.passes.affine import fold_batch_norm, fold_scale_before, fuse_bias
from tensorferry.passes.arithmetic import simplify_arithmetic
from tensorferry.passes.branches import move_constants_inside, take_known_branches
from tensorferry.passes.complex_numbers import split_complex
from tensorferry.passes.composites import recognise_composites, recognise_unit_length
from tensorferry.passes.constants import fold_constants
from tensorferry.passes.dead_nodes import remove_dead_nodes, remove_unneeded_captures
from tensorferry.passes.dilation import fuse_dilated_convolution
from tensorferry.passes.dropout import remove_dropout
from tensorferry.passes.duplicates import merge_duplicate_constants, merge_duplicate_nodes
from tensorferry.passes.empty_batches import fill_empty_batches, fill_empty_reductions
from tensorferry.passes.expansion import expand_for_target
from tensorferry.passes.first_states import settle_open_states
from tensorferry.passes.flattening import join_mask_reshapes, join_reshapes, lift_products, permute_flattened_weights, sink_reshapes
from tensorferry.passes.frames import write_frames
from tensorferry.passes.gates import recognise_gelu
from tensorferry.passes.identities import remove_identities
from tensorferry.passes.joined_lists import join_lists_in_loops
from tensorferry.passes.layout import settle_layout
from tensorferry.passes.lists import write_lists_as_tensors
from tensorferry.passes.narrowing import narrow_types
from tensorferry.passes.pads import merge_pads
from tensorferry.passes.plain_ops import write_plain_ops
from tensorferry.passes.recurrence import recognise_lstm_loops, turn_lstm
from tensorferry.passes.relabelling import join_transposed_axes
from tensorferry.passes.reshapes import drop_broadcast_reshapes, replace_transposes_by_reshapes, simplify_reshapes
from tensorferry.passes.rewriting import Pass
from tensorferry.passes.shapes import fold_shape_arithmetic, infer_known, read_sizes_before_transposes, refine_types
from tensorferry.passes.transposes import move_transposes
from tensorferry.passes.unrolling import read_lists_from_state, resolve_tensor_lists, unroll_loops, unroll_single_rounds

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Group:
    """Passes run in order, again and again until none changes anything, `rounds` times at most."""

    name: str
    passes: tuple[Pass, ...]
    rounds: int = 1


CLEANING = Group(
    "clean up",
    (
        remove_dead_nodes,
        remove_unneeded_captures,
        refine_types,
        remove_identities,
        fold_shape_arithmetic,
        fold_constants,
        simplify_reshapes,
        simplify_arithmetic,
        remove_dropout,
        take_known_branches,
        move_constants_inside,
        remove_unneeded_captures,
        unroll_loops,
        resolve_tensor_lists,
    ),
    rounds=8,
)
LAYOUT = Group(
    "settle the layout",
    (settle_layout, read_sizes_before_transposes, merge_duplicate_nodes, simplify_reshapes, move_transposes),
    rounds=16,
)
RELABELLING = Group("reshape", (replace_transposes_by_reshapes, join_transposed_axes, simplify_reshapes), rounds=4)
FUSING = Group(
    "fuse",
    (
        recognise_clips,
        recognise_composites,
        recognise_gelu,
        turn_lstm,
        sink_reshapes,
        fold_batch_norm,
        fuse_bias,
        fold_scale_before,
        fuse_dilated_convolution,
        merge_pads,
        fold_constants,
        simplify_reshapes,
        simplify_arithmetic,
        move_transposes,
        permute_flattened_weights,
    ),
    rounds=8,
)
TIDYING = Group("tidy up", (merge_duplicate_constants, merge_duplicate_nodes, remove_dead_nodes), rounds=4)

RECURRENCE = Group(
    "recurrence",
    (
        remove_dead_nodes,
        refine_types,
        remove_identities,
        fold_shape_arithmetic,
        fold_constants,
        recognise_lstm_loops,
        unroll_single_rounds,
        read_lists_from_state,
        resolve_tensor_lists,
        join_lists_in_loops,
    ),
    rounds=4,
)
LISTS = Group("lists", (refine_types, fold_shape_arithmetic, write_lists_as_tensors, remove_unneeded_captures))
PREPARING = (RECURRENCE, LISTS, CLEANING, LAYOUT, FUSING, RELABELLING, TIDYING)

TARGETS = ("tflite", "tfjs")


def _finishing(target: str) -> tuple[Group, ...]:
    on_tflite = (recognise_symmetric_clips, recognise_unit_length, lift_products, join_mask_reshapes)
    only_there = on_tflite if target == "tflite" else (join_reshapes,)
    states = (settle_open_states, fill_empty_batches) if target == "tflite" else ()
    return (
        Group("types", (narrow_types(target), *((fill_empty_reductions,) if target == "tfjs" else ()))),
        Group(
            "expand",
            (split_complex, expand_for_target(target), remove_identities, refine_types, fold_shape_arithmetic, fold_constants),
            rounds=8,
        ),
        Group("states", states),
        Group(
            "fuse",
            (fold_batch_norm, fuse_bias, *only_there, simplify_reshapes, drop_broadcast_reshapes, fuse_activation(target)),
            rounds=4,
        ),
        TIDYING,
    )


PLAIN = (Group("plain ops", (write_plain_ops,), rounds=8),)
"""For TensorFlow's own formats the graph stays as it was read, but for what TensorFlow does not have."""

FRAMES = ("tfjs", "tensorflow")
"""For whom control flow may be written in TensorFlow 1's form, after everything else: `TARGET frames`."""

PIPELINES: Mapping[str, Sequence[Group]] = {
    "prepare": PREPARING,
    **{target: _finishing(target) for target in TARGETS},
    "tensorflow": PLAIN,
    **{f"{target} frames": (Group("frames", (write_frames(target),)), TIDYING) for target in FRAMES},
}
"""Name -> groups, in order. `prepare` comes first, then one target's."""


def prepare(graph: Graph) -> dict[str, int]:
    """Everything that is right for all targets. Returns how often each pass changed something."""
    return run(graph, PIPELINES["prepare"])


def finish(graph: Graph, target: str) -> dict[str, int]:
    """What one target needs, after `prepare`; `tensorflow`, of the graph as it was read: what its own formats need.

    Returns how often each pass changed something.
    """
    return run(graph, PIPELINES[target])


def run(graph: Graph, groups: Sequence[Group]) -> dict[str, int]:
    """Run groups of passes; the graph is verified, types inferred anew, after each pass that changed something."""
    changes: Counter[str] = Counter()
    for group in groups:
        for round_number in range(group.rounds):
            before = changes.total()
            for each in group.passes:
                changes[each.__name__] += run_pass(graph, each)
            if changes.total() == before:
                break
            log.debug("%s, round %d: %d changes", group.name, round_number + 1, changes.total() - before)
        else:
            if group.rounds > 1:
                log.debug("%s: still changing after %d rounds", group.name, group.rounds)
    return {name: count for name, count in changes.items() if count}


def run_pass(graph: Graph, each: Pass) -> int:
    """One pass, verified. GraphError names the pass."""
    changes = each(graph)
    if changes:
        _lift_notices(graph)
        try:
            verify(graph, infer_known)
        except (GraphError, NodeError) as error:
            raise GraphError(f"after the pass {each.__name__}: {error.what}", where=error.where, why=error.why) from error
    return changes


def _lift_notices(graph: Graph) -> None:
    """What was decided inside of branches and bodies is told with the rest."""
    for node in graph.nodes:
        for _key, nested in node.graphs():
            _lift_notices(nested)
            graph.notices += [notice for notice in nested.notices if notice not in graph.notices]
            nested.notices.clear()
