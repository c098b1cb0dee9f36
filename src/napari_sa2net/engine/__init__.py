"""The program behind the plugin: it imports neither napari nor Qt."""
