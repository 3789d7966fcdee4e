"""Which layout a dataset has: read before anything is changed there, so that one of a newer gapless is left alone.

Nothing that brings a layout to another one may enter: `pipelines/layout` does that.
"""
