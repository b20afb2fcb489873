"""What other programs read: bioimage.io packages, TorchScript, Hugging Face."""
