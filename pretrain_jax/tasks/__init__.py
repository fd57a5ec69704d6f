"""Tasks that show what a trained model can do: --tasks=blimp is tasks/blimp.py.

Each file defines TASK, a `_base.Task`: how its files are read, what a model is asked, and the
metrics. Nothing here knows how a model computes: a task asks it through `_base.Model`. Modules
whose names begin with "_" hold what several tasks share.
"""
