"""What can be written of an image, and how the files are called. Quick to import."""

from __future__ import annotations

MAPS = ("stages", "probabilities", "attention", "disagreement")
"""What a segmentation can keep besides the labels."""

MEASURES = ("table", "geojson", "rois")
KINDS = (*MAPS, *MEASURES)
"""What can be written besides the labels."""

ENDINGS = {kind: f"_{kind}.ome.tif" for kind in ("labels", *MAPS)} | {
    "table": "_table.csv",
    "geojson": "_outlines.geojson",
    "rois": "_rois.zip",
}
"""What the name of an image is followed by in the names of its results."""
