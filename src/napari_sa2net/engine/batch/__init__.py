"""Many image files, one after another: segmented, measured and written."""
