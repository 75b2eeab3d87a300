"""Reading and writing scans and labels: NIfTI by nibabel, everything else by SimpleITK.

Arrays are in x, y, z order throughout, whatever the file's own order is.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray

from segmend.errors import InputError
from segmend.outputs import whole_file

NIFTI = (".nii.gz", ".nii")
ENDINGS = (*NIFTI, ".mha", ".nrrd", ".png", ".tif", ".tiff")
"""File endings that are read and written."""

_DAMAGED = (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an array lie in the patient.

    Attributes:
        shape: voxels along x, y and, in 3D, z.
        affine: ``[4, 4]``, voxel index to RAS millimetres; a 2D image lies in the plane z = 0.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres from voxel to voxel along each axis."""
        columns = np.linalg.norm(self.affine[:3, : self.dimensions], axis=0)
        return tuple(float(column) for column in columns)

    def matches(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both grids have the same shape and, within ``tolerance`` (mm), the same place."""
        if self.shape != other.shape:
            return False
        corner = np.array([*[side - 1 for side in self.shape], *[0] * (3 - self.dimensions), 1.0])
        basis = np.vstack([np.eye(4)[3], corner])
        directions = self.affine[:3, : self.dimensions] - other.affine[:3, : self.dimensions]
        places = (self.affine - other.affine) @ basis.T
        return bool(np.abs(places).max() <= tolerance and np.abs(directions).max() <= tolerance)


def case_name(path: Path) -> str:
    """File name without its ending.

    Raises:
        InputError: the ending is not one of ``ENDINGS``.
    """
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    raise InputError(path, "has an ending that is not read", f"convert it to one of {', '.join(ENDINGS)}")


def is_image_file(path: Path) -> bool:
    """Whether the name has an ending that is read, and is not hidden."""
    return path.name.lower().endswith(ENDINGS) and not path.name.startswith(".")


def read_image(path: Path) -> tuple[NDArray[np.float32], Grid]:
    """Reads intensities.

    Returns:
        ``[channels in the file, *spatial]`` float32 and the grid.

    Raises:
        InputError: missing, unreadable or truncated file, or more than three spatial dimensions.
    """
    array, grid = _read(path)
    return np.ascontiguousarray(array, dtype=np.float32), grid


def read_label(path: Path) -> tuple[NDArray[np.integer], Grid]:
    """Reads label values as they are in the file.

    Returns:
        ``[*spatial]`` of an integer type and the grid.

    Raises:
        InputError: as in ``read_image``; several channels; values that are not whole numbers.
    """
    array, grid = _read(path)
    if len(array) != 1:
        raise InputError(path, f"has {len(array)} channels, a label has one", "save it as a single-channel image")
    label = array[0]
    if not np.issubdtype(label.dtype, np.integer):
        whole = np.rint(label) if np.isfinite(label).all() else None
        if whole is None or not np.array_equal(whole, label):
            raise InputError(path, "holds values that are not whole numbers", "save the label as integers")
        label = whole.astype(np.int64)
    return label, grid


def read_grid(path: Path) -> Grid:
    """Reads the header only.

    Raises:
        InputError: missing or unreadable file, or more than three spatial dimensions.
    """
    _check_exists(path)
    if path.name.lower().endswith(NIFTI):
        return _nifti_grid(path, _load_nifti(path))
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path) from error
    return _itk_grid(path, reader, reader.GetSize())


def write_label(path: Path, label: NDArray[np.integer], like: Path) -> None:
    """Writes label values over the scan or label ``like``: same header, same place.

    Args:
        path: the file to write; its ending chooses the format.
        label: ``[*spatial]``, on the grid of ``like``; written as uint8, or uint16 if a value needs it.
        like: the file whose geometry is kept.
    """
    kind = np.uint8 if int(label.max(initial=0)) < 256 else np.uint16
    _write(path, label.astype(kind), like)


def write_map(path: Path, values: NDArray[np.floating[Any]], like: Path) -> None:
    """Writes a float32 map ``[*spatial]`` over the scan or label ``like``."""
    _write(path, values.astype(np.float32), like)


def _read(path: Path) -> tuple[NDArray[Any], Grid]:
    _check_exists(path)
    if path.name.lower().endswith(NIFTI):
        nifti = _load_nifti(path)
        grid = _nifti_grid(path, nifti)
        try:
            array = np.asarray(nifti.dataobj)
        except _DAMAGED as error:
            raise _unreadable(path) from error
        return array.reshape(1, *grid.shape), grid
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path) from error
    grid = _itk_grid(path, image, image.GetSize())
    array = SimpleITK.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 1:
        array = array[..., None]
    return np.transpose(array.reshape(*grid.shape[::-1], -1)), grid


def _write(path: Path, array: NDArray[Any], like: Path) -> None:
    grid = read_grid(like)
    if array.shape != grid.shape:
        raise ValueError(f"array of shape {array.shape} does not lie on the grid of {like}, which is {grid.shape}")
    with whole_file(path) as temporary:
        if path.name.lower().endswith(NIFTI):
            nibabel.save(_nifti_like(array, like, grid), temporary)
        else:
            SimpleITK.WriteImage(_itk_like(array, like, grid), str(temporary), useCompression=True)


def _nifti_like(array: NDArray[Any], like: Path, grid: Grid) -> nibabel.Nifti1Image:
    if not like.name.lower().endswith(NIFTI):
        return nibabel.Nifti1Image(array, grid.affine)
    header = _load_nifti(like).header.copy()
    array = array.reshape(header.get_data_shape())
    header.set_data_dtype(array.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0  # the scan's display window would hide the labels
    return nibabel.Nifti1Image(array, None, header)


def _itk_like(array: NDArray[Any], like: Path, grid: Grid) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(np.transpose(array)))
    lps = _LPS_TO_RAS @ grid.affine
    n = grid.dimensions
    image.SetSpacing(grid.spacing)
    image.SetOrigin(lps[:n, 3].tolist())
    image.SetDirection((lps[:n, :n] / grid.spacing).ravel().tolist())
    return image


def _load_nifti(path: Path) -> nibabel.Nifti1Image:
    try:
        nifti = nibabel.load(path)
    except _DAMAGED as error:
        raise _unreadable(path) from error
    assert isinstance(nifti, nibabel.Nifti1Image)
    return nifti


def _nifti_grid(path: Path, nifti: nibabel.Nifti1Image) -> Grid:
    shape = tuple(int(side) for side in nifti.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    affine = np.asarray(nifti.affine, dtype=np.float64)
    return _checked_grid(path, shape, affine)


def _itk_grid(path: Path, header: Any, size: tuple[int, ...]) -> Grid:  # an image or a reader: same methods
    n = len(size)
    if n not in (2, 3):
        return _checked_grid(path, size, np.eye(4))
    lps = np.eye(4)
    lps[:n, :n] = np.reshape(header.GetDirection(), (n, n)) * header.GetSpacing()
    lps[:n, 3] = header.GetOrigin()
    return _checked_grid(path, tuple(size), _LPS_TO_RAS @ lps)


def _checked_grid(path: Path, shape: tuple[int, ...], affine: NDArray[np.float64]) -> Grid:
    if len(shape) not in (2, 3):
        raise InputError(
            path, f"has {len(shape)} dimensions {shape}", "split it into one 3D (or 2D) file per channel or time point"
        )
    if min(shape) < 1 or not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise InputError(path, "has a header without a usable shape and affine", "export the file again")
    return Grid(shape, affine)


def _check_exists(path: Path) -> None:
    case_name(path)
    if not path.is_file():
        raise InputError(path, "does not exist", "check the name and the folder")


def _unreadable(path: Path) -> InputError:
    return InputError(path, "cannot be read; it is damaged, truncated or of another format", "copy or export it again")
