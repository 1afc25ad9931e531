"""Encoded images and videos in a few large files, which are read from a folder or from an HTTP server."""
