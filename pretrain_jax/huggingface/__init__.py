"""Exchange of models and tokenizers with Hugging Face."""
