"""Named choices of parts: ``vlarl train CONFIG --objective NAME``. Every public function here is a name.

Docstrings give the paper and our deviations. "Token" below is an action token; an episode is what language-model papers
call a response. Learning rates, batch sizes and temperatures belong to the experiment, not to the objective.
"""
