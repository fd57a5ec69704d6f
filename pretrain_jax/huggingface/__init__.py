"""Models as folders of Hugging Face's transformers; every module of this folder is a `model_type`.

gpt2.py reads and writes folders whose config.json has "model_type": "gpt2". (A "-" of a model_type
is "_" in the name of the file.) To add a family, add one file; it defines

    MODELS                       the names of our models (model.name) that it can represent
    FOLDERS                      names of the folders of one model: ("",) for a single one
    HEADS                        the heads of finetuned models that it can represent (_heads.py)
    body(run) -> Folder          what the folder of the class without a head holds: config.json and
                                 a table that pairs our parameters with their tensors (_table.py).
                                 The same table serves both directions
    folders(run) -> tuple[Folder, ...]
                                 the same for each folder of a pretrained model
    from_config(opened) -> Imported
                                 the config sections for the model in opened folders, by name.
                                 Raises ConfigError for a setting that our model cannot represent

Arrays keep their bits in both directions, except the rows that pad the vocabulary.
"""
