"""What is only true of Kizen."""
