"""PERCEPTION: correspondence in video by a contrastive random walk."""
