"""Scores of predictions, one file for each kind of task: classes, numbers, tags, answers, texts.

They are computed on the host. The libraries behind them are slow to import, so each function
imports what it calls. The scores are those of the libraries or of a task's official script, with
one addition: a score that is not defined, such as the correlation of a constant, is 0.0.
"""
