"""The tab "Correct & fine-tune"."""
