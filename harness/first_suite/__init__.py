"""A first suite for a folder of one's own images: look at it, choose what fits, write it down with the reasons."""
