"""The benchmark suite: cases, the processes that measure them, and what is made of their numbers."""
