"""Labels without components separate from their objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from segmend.core.masks import IGNORE


def largest_component(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep the largest connected component of each foreground class; the others become background.

    Voxels are connected through their faces (in 2D, their edges). Of components of the same size, the one that comes
    first in the array is kept. ``IGNORE`` is not a class and is kept.

    Args:
        label: ``[*spatial]`` class indices, 2D or 3D.

    Returns:
        A new array of the same shape.
    """
    components = measure.label(label, background=0, connectivity=1)
    sizes = np.bincount(components.ravel())
    class_of = np.zeros(len(sizes), np.uint8)
    class_of[components] = label
    kept = class_of == IGNORE
    for index in set(class_of.tolist()) - {0, IGNORE}:
        kept[np.argmax(np.where(class_of == index, sizes, 0))] = True
    largest: NDArray[np.uint8] = label * kept[components]
    return largest
