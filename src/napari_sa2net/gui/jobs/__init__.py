"""Work beside the window: threads, their progress, and who owns them."""
