"""The program behind the plugin: it imports neither napari nor Qt."""

import os

# On Linux PyTorch then asks for large pages of memory, which makes a training step about a sixth
# faster. It looks once, before its first large tensor; elsewhere nobody looks.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
