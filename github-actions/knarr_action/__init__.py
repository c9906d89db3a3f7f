"""The program behind the actions: a step's inputs to one run of the executor; Python 3.10, nothing else."""
