"""Parts of Transformers, on the device. No file here is a model: models/ chooses among these."""
