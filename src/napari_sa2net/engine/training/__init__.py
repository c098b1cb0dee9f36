"""Making weights: from masks as a recipe says, and from what a person paints.

``recipes`` makes the released models and ``fine_tuning`` adapts one to painted labels; both turn
their images into ``samples`` and hand them to the one training ``loop``.
"""
