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


def _describe_slide(dataset: Dataset, spacing: float, shape: tuple[int, int]) -> None:
    """What a scanner says of patient, specimen and place, in letters beyond ASCII where it may."""
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.PatientID = "Müller^Änne", "0815"
    dataset.PatientBirthDate, dataset.PatientSex = "19500101", "F"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260101", "120000", "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "A1", "Doe^Jane"
    dataset.Manufacturer, dataset.SeriesNumber = "by hand", 1
    dataset.ContainerIdentifier = "S-1"
    dataset.IssuerOfTheContainerIdentifierSequence = pydicom.Sequence([])
    dataset.ContainerTypeCodeSequence = pydicom.Sequence([_code("433466003", "Microscope slide")])
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "S-1-ä", generate_uid(entropy_srcs=["S"])
    specimen.IssuerOfTheSpecimenIdentifierSequence = pydicom.Sequence([])
    specimen.SpecimenPreparationSequence = pydicom.Sequence([])
    dataset.SpecimenDescriptionSequence = pydicom.Sequence([specimen])
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20.0, 40.0
    dataset.TotalPixelMatrixOriginSequence = pydicom.Sequence([origin])
    dataset.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    dataset.ImagedVolumeHeight, dataset.ImagedVolumeWidth = (side * spacing for side in shape)
    dataset.ImagedVolumeDepth = 0.001
    dataset.PositionReferenceIndicator, dataset.LossyImageCompression = "SLIDE_CORNER", "01"
    dataset.LossyImageCompressionRatio = 10
    dataset.LossyImageCompressionMethod = "ISO_10918_1"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def nuclei_slide(folder: Path, side: int = 900) -> tuple[Path, np.ndarray]:
    """Three levels of one slide: squares of two colours on pink tissue, and the type of each pixel.

    Red is above a half of its range in type 1, and below in type 2; both are dark in green.
    """
    random, pixels = np.random.default_rng(0), np.full((side, side + 100, 3), 0, np.uint8)
    pixels[:] = np.array([215, 165, 200]) + random.integers(-14, 15, pixels.shape[:2])[..., None]
    types = np.zeros(pixels.shape[:2], int)
    for top in range(16, side - 24, 48):
        for left in range(16, side + 76, 48):
            kind = int(random.integers(2))
            square = np.s_[top : top + 20, left : left + 20]
            pixels[square], types[square] = ((200, 40, 120), (40, 40, 150))[kind], kind + 1
    series = generate_uid(entropy_srcs=["slide"]), generate_uid(entropy_srcs=["frame"])
    folder.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate((1, 2, 4), 1):
        level = np.ascontiguousarray(pixels[::step, ::step])
        write_level(folder / f"level-{number}.dcm", level, 0.0005 * step, series, number)
    return folder / "level-1.dcm", types


def write_level(
    path: Path, pixels: np.ndarray, spacing: float, series: tuple[str, str], number: int, side=256
) -> Path:
    """A level of a whole slide in tiles of JPEG; ``series``: of series and frame of reference."""
    dataset = _dataset(WHOLE_SLIDE, JPEGBaseline8Bit)
    height, width = pixels.shape[:2]
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=list(series))
    _describe_slide(dataset, spacing, (height, width))
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
    kinds = Dataset()
    kinds.FrameType = dataset.ImageType
    groups.WholeSlideMicroscopyImageFrameTypeSequence = pydicom.Sequence([kinds])
    groups.PixelMeasuresSequence = pydicom.Sequence([measures])
    optical.OpticalPathIdentifier = "1"
    dataset.SharedFunctionalGroupsSequence = pydicom.Sequence([groups])
    dataset.OpticalPathSequence = pydicom.Sequence([optical])
    dataset.PixelData = encapsulate(tiles)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path
