"""Running trained networks: what turns a batch of tiles into maps, as fast as the device can.

Results are those of the network as it was trained, whatever runs it.
"""
