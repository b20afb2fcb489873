"""DICOM: single images by pydicom, and what the files of a series say of each other."""
