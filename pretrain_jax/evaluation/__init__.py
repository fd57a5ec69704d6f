"""What a trained model knows of held-out text."""
