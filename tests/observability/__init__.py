"""What is logged, traced and posted, and to whom."""
