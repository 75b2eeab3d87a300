"""Signed distance maps of labels, as targets of a network."""

from __future__ import annotations

import edt
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def signed_distance_maps(label: Tensor, classes: int) -> Tensor:
    """Distance of each voxel to the boundary of each object, relative to the largest one on its side.

    d_out / max d_out outside and -d_in / max d_in inside, where d_out and d_in are the Euclidean distances to the
    nearest voxel of the other side; 0 on the object's boundary, which are its voxels with a face in common with the
    outside (Xue et al., AAAI 2020; DTC and SASSNet). The edge of the array is no boundary. Distances are in voxels, and
    exact. Computed on the CPU, so labels on a GPU are copied.

    Args:
        label: ``[B, *spatial]`` class indices; what is not of a class, ``IGNORE`` included, is outside its object.
        classes: C, background included.

    Returns:
        ``[B, C - 1, *spatial]`` float32 in -1..1 on the device of the label, one map for each class but the background;
        0 everywhere where a sample has no voxel of the class, or no other.
    """
    arrays = label.cpu().numpy()
    maps = np.stack([[_signed_distance_map(array == cls) for cls in range(1, classes)] for array in arrays])
    return torch.from_numpy(maps).to(label.device)


def _signed_distance_map(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    if inside.all() or not inside.any():
        return np.zeros(inside.shape, np.float32)
    outward = edt.edt(np.ascontiguousarray(~inside), black_border=False)
    inward = edt.edt(np.ascontiguousarray(inside), black_border=False)
    # At distance 1 there is a face in common with the outside.
    inward[inward <= 1] = 0
    signed: NDArray[np.float32] = outward / outward.max() - inward / max(inward.max(), 1)
    return signed
