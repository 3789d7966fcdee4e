"""Thin adapters for schedulers: each turns the sources into assets or DAGs that call `sync.run.sync`.
No pipeline logic may enter; the scheduler's own package is imported here alone.
"""
