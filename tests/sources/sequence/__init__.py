"""What is only true of Sequence."""
