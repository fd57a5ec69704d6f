"""Any multiple choice in the format of the LLM Foundry: query, choices, gold."""

from pretrain_jax.tasks._choice import choice_task, parse_choices

TASK = choice_task(parse_choices, "Each choice follows the query and a space.", neutral="")
