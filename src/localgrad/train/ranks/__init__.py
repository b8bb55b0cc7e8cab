"""A run on many processes: what each of them does, from its start to its last checkpoint."""

from localgrad.train.ranks.start import train_ranks as train_ranks
