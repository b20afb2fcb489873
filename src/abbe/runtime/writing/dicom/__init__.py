"""Results as DICOM, by highdicom (``abbe[dicom]``): segmentations and bulk annotations."""
