"""Mirrors of runs elsewhere: W&B, and what Accelerate knows. Records are the truth; a mirror can be made again."""
