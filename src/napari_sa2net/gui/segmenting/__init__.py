"""The tab "Segment"."""
