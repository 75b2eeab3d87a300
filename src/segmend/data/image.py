"""Reading and writing scans and labels: NIfTI by nibabel, everything else by SimpleITK.

Arrays are in x, y, z order throughout, whatever the file's own order is.
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from segmend.errors import InputError
from segmend.outputs import whole_file

NIFTI = (".nii.gz", ".nii")
PICTURES = (".png", ".tif", ".tiff")
"""Endings of 2D formats that say nothing of the place in the patient; their resolution is often that of a printer."""
ENDINGS = (*NIFTI, ".mha", ".nrrd", *PICTURES)
"""File endings that are read and written."""

PLACE_TOLERANCE = 0.1
"""How far, in voxels, two files may lie apart and still count as on the same grid.

Programs round headers differently, rotations stored as quaternions most of all; a tenth of a voxel is
more than any of that and less than any misplacement that matters.
"""

_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    MemoryError,  # a damaged header can claim any size
    zlib.error,
    ImageFileError,
    HeaderDataError,
)
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

    def matches(self, other: Grid) -> bool:
        """Whether both grids have the same shape and, within ``PLACE_TOLERANCE``, the same place."""
        return self.shape == other.shape and self.distance(other) <= PLACE_TOLERANCE * min(self.spacing)

    def distance(self, other: Grid) -> float:
        """How far apart, in mm, the grids place the voxel on which they differ most; their shapes must agree."""
        corners = np.array(list(itertools.product(*[(0, side) for side in self.shape])))
        difference = (self.affine - other.affine)[:3]
        apart = corners @ difference[:, : self.dimensions].T + difference[:, 3]
        return float(np.linalg.norm(apart, axis=1).max())


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
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which the checks report
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
        with np.errstate(invalid="ignore"):
            whole = label.astype(np.int64)
        if not np.array_equal(whole, label):
            raise InputError(path, "holds values that are not whole numbers", "save the label as integers")
        label = whole
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
    array, grid = _read_nifti(path) if path.name.lower().endswith(NIFTI) else _read_itk(path)
    if array.dtype.kind not in "biuf":
        raise InputError(path, "holds colours or complex numbers", "save it with one plain number per voxel")
    return array, grid


def _read_nifti(path: Path) -> tuple[NDArray[Any], Grid]:
    nifti = _load_nifti(path)
    grid = _nifti_grid(path, nifti)
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path) as stream:
                array = np.asarray(type(nifti).from_stream(stream).dataobj)
                stream.read()  # the checksum stands behind the last voxel
        else:
            array = np.asarray(nifti.dataobj)
    except _DAMAGED as error:
        raise _unreadable(path) from error
    return array.reshape(1, *grid.shape), grid


def _read_itk(path: Path) -> tuple[NDArray[Any], Grid]:
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
            _save_itk(_itk_like(array, grid), temporary, path)


def _save_itk(image: SimpleITK.Image, temporary: Path, path: Path) -> None:
    try:
        SimpleITK.WriteImage(image, str(temporary), useCompression=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        remedy = "make sure that there is space, that you may write there, and that the format holds such values"
        raise InputError(path, f"cannot be written ({reason})", remedy) from error


def _nifti_like(array: NDArray[Any], like: Path, grid: Grid) -> nibabel.Nifti1Image:
    if not like.name.lower().endswith(NIFTI):
        return nibabel.Nifti1Image(array, grid.affine)
    header = _load_nifti(like).header.copy()
    array = array.reshape(header.get_data_shape())
    header.set_data_dtype(array.dtype)
    header["cal_min"], header["cal_max"] = 0, 0  # the scan's display window would hide the labels
    return nibabel.Nifti1Image(array, None, header)


def _itk_like(array: NDArray[Any], grid: Grid) -> SimpleITK.Image:
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
    if n == 3 and path.name.lower().endswith(PICTURES):
        raise InputError(path, "is a stack of pictures, which tells no spacing", "convert it to .nii.gz, .mha or .nrrd")
    if n not in (2, 3):
        return _checked_grid(path, size, np.eye(4))
    lps = np.eye(4)
    if path.name.lower().endswith(PICTURES):
        return _checked_grid(path, tuple(size), _LPS_TO_RAS @ lps)
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
