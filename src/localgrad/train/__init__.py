"""Training a Run: optimisers, schedules, loop, evaluation, records, checkpoints."""

from localgrad.train.evaluate import Evaluation as Evaluation
from localgrad.train.evaluate import evaluate as evaluate
from localgrad.train.loop import Result as Result
from localgrad.train.loop import train as train
from localgrad.train.optim import SGD as SGD
from localgrad.train.optim import Adam as Adam
from localgrad.train.run import Origin as Origin
from localgrad.train.run import Run as Run
from localgrad.train.runtimes import DistributedSpec as DistributedSpec
from localgrad.train.runtimes import GreedySpec as GreedySpec
from localgrad.train.runtimes import QueuedSpec as QueuedSpec
from localgrad.train.schedule import Constant as Constant
from localgrad.train.schedule import Cosine as Cosine
from localgrad.train.schedule import MultiStep as MultiStep
from localgrad.train.weights import export_weights as export_weights
