"""Painting: the layers to paint in, and what their values mean."""
