"""Control: unsupervised curricula of tasks, and agents that adapt to new ones within a trial."""
