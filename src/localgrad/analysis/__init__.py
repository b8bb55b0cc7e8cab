"""What can be learned about a network from outside its training."""

from localgrad.analysis.audit import Audit as Audit
from localgrad.analysis.audit import audit as audit
from localgrad.analysis.ensemble import logits_ensemble as logits_ensemble
