"""Images that do not fit into memory, segmented block by block into an OME-Zarr pyramid.

Everything a block's work needs is on disk or in the job's frozen description, and everything it
gives is written there: the blocks of a phase can be done in any order, by any process.
"""
