"""The cases of the campaign: a module for each part, and what they are drawn and judged by."""
