"""What gapless costs, and what others cost for the same work: `python -m tests.bench`. Nothing here runs in the suite
but tests/bench/test_bench.py, and nothing here is imported by the product.
"""
