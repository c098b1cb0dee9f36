"""Models in formats that other programs use: ONNX files, BioImage Model Zoo packages."""
