"""What can be told of objects: a table of measurements, and outlines for other programs."""
