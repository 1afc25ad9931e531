"""Video files: reading, writing, and decoding where a crash does no harm.

Nothing is imported here, because the decoder process of `guarded` starts without torch.
"""
