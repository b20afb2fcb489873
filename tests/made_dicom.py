"""DICOM files made by pydicom: single images, and levels of whole slides."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


def _dataset(kind: str, syntax: str) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(kind), generate_uid()
    meta.TransferSyntaxUID = UID(syntax)
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    return dataset


def write_image(
    path: Path, pixels: np.ndarray, photometric: str = "MONOCHROME2", **tags: Any
) -> Path:
    """One image, (H, W) or (H, W, 3), as it is stored."""
    dataset = _dataset(ULTRASOUND, ExplicitVRLittleEndian)
    bits = 8 * pixels.dtype.itemsize
    dataset.Modality, dataset.PhotometricInterpretation = "US", photometric
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_level(
    path: Path, pixels: np.ndarray, spacing: float, series: tuple[str, str], number: int, side=256
) -> Path:
    """A level of a whole slide in tiles of JPEG; ``series``: of series and frame of reference."""
    dataset = _dataset(WHOLE_SLIDE, JPEGBaseline8Bit)
    height, width = pixels.shape[:2]
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series
    dataset.Modality, dataset.InstanceNumber = "SM", number
    kind = ("ORIGINAL", "NONE") if number == 1 else ("DERIVED", "RESAMPLED")
    dataset.ImageType = [kind[0], "PRIMARY", "VOLUME", kind[1]]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_FULL_422"
    dataset.PlanarConfiguration = dataset.PixelRepresentation = 0
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.TotalPixelMatrixColumns, dataset.TotalPixelMatrixRows = width, height
    dataset.TotalPixelMatrixFocalPlanes = dataset.NumberOfOpticalPaths = 1
    dataset.DimensionOrganizationType = "TILED_FULL"
    tiles = []
    for top in range(0, height, side):
        for left in range(0, width, side):
            tile = np.full((side, side, 3), 255, np.uint8)
            part = pixels[top : top + side, left : left + side]
            tile[: part.shape[0], : part.shape[1]] = part
            tiles.append(imagecodecs.jpeg8_encode(tile, level=95))
    dataset.NumberOfFrames = len(tiles)
    measures, groups, optical = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [spacing, spacing], 0.001
    groups.PixelMeasuresSequence = pydicom.Sequence([measures])
    optical.OpticalPathIdentifier = "1"
    dataset.SharedFunctionalGroupsSequence = pydicom.Sequence([groups])
    dataset.OpticalPathSequence = pydicom.Sequence([optical])
    dataset.PixelData = encapsulate(tiles)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path
