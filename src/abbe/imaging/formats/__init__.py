"""The file formats of images, each in files of its own."""
