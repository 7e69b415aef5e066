"""Tensors that lie in pieces on several ranks (``DTensor``): this rank's piece, and where it belongs in the whole.

Nothing here communicates: a piece is read where it lies, never gathered. What FSDP2 (``fully_shard``) makes is cut
along the first dimension into consecutive rows. Any other cut (tensor parallel, strided) has no logical digest.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

__all__ = ["Piece", "local_of", "pieces_of", "resharded"]


@dataclass(frozen=True)
class Piece:
    """Where a rank's piece of a tensor lies in the whole.

    Attributes:
        shape: shape of the whole.
        start: first row of the piece.
        stop: row after the last.
        part: which piece it is, counted along the group's dimension that shards.
        parts: how many pieces there are.
        replica: which copy of the piece this is, where the group also replicates.
        fault: why the piece has no place in consecutive rows; empty where it has.
    """

    shape: tuple[int, ...]
    start: int
    stop: int
    part: int
    parts: int
    replica: int
    fault: str = ""

    def as_list(self) -> list[Any]:
        """Returns plain data, for a journal and a digest."""
        return [list(self.shape), self.start, self.stop, self.part, self.parts, self.replica, self.fault]


def _kind() -> Any:
    """Returns the class of sharded tensors, or None where the program never imported it."""
    module = sys.modules.get("torch.distributed.tensor")
    return getattr(module, "DTensor", None)


def local_of(tensor: Tensor) -> Tensor:
    """Returns the piece that lies on this rank, live; a tensor that is whole comes back as it is."""
    kind = _kind()
    return tensor._local_tensor if kind is not None and isinstance(tensor, kind) else tensor


def pieces_of(tensors: Mapping[str, Tensor]) -> dict[str, Piece]:
    """Returns the place of each tensor that lies in pieces, by name; those that are whole are left out."""
    kind = _kind()
    if kind is None:
        return {}
    return {
        name: _piece(tensor)
        for name, tensor in tensors.items()
        if isinstance(tensor, kind) and not all(placement.is_replicate() for placement in tensor.placements)
    }


def _piece(tensor: Any) -> Piece:
    mesh, placements, shape = tensor.device_mesh, tensor.placements, tuple(tensor.shape)
    coordinate = mesh.get_coordinate()
    cuts = [index for index, placement in enumerate(placements) if not placement.is_replicate()]
    rows = shape[0] if shape else 0
    part, parts = int(coordinate[cuts[0]]), int(mesh.shape[cuts[0]])
    replica = _flat(coordinate, mesh.shape, cuts)
    placement = placements[cuts[0]]
    fault = ""
    if len(cuts) > 1 or type(placement).__name__ != "Shard" or placement.dim != 0 or not shape:
        fault = f"is cut as {placements}, not into rows along one dimension of the group"
        return Piece(shape, 0, 0, part, parts, replica, fault)
    size = -(-rows // parts)  # as torch.chunk cuts, which FSDP2 and Shard(0) follow
    start, stop = min(rows, size * part), min(rows, size * (part + 1))
    if tuple(tensor._local_tensor.shape) != (stop - start, *shape[1:]):
        fault = f"has a piece of shape {tuple(tensor._local_tensor.shape)} where rows {start} to {stop} were expected"
    return Piece(shape, start, stop, part, parts, replica, fault)


def _flat(coordinate: Any, shape: Any, without: Any) -> int:
    """Returns the coordinate along all dimensions but some, as one number."""
    number = 0
    for index, (place, size) in enumerate(zip(coordinate, shape, strict=True)):
        if index not in without:
            number = number * int(size) + int(place)
    return number


def resharded(module: nn.Module) -> dict[int, Tensor]:
    """Returns, by id of the gathered parameter that a module may hold for a while, the piece that lasts (FSDP2).

    After a forward pass without a backward, FSDP2's outermost module goes on holding gathered parameters: copies that
    are thrown away. The optimizer updates the pieces.
    """
    kind: Any = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", None)
    if kind is None:
        return {}
    found: dict[int, Tensor] = {}
    for sharder in (child for child in module.modules() if isinstance(child, kind)):
        state = sharder._get_fsdp_state()
        groups = getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]
        for group in groups:
            for held in getattr(group, "fsdp_params", ()):
                gathered = getattr(held, "_unsharded_param", None)
                if gathered is not None:
                    found[id(gathered)] = held.sharded_param
    return found
