"""Before a distributed run: which process hosts what, what it will cost, and what thousands of nodes would do."""

from localgrad.planning.balance import Balance as Balance
from localgrad.planning.balance import balanced as balanced
from localgrad.planning.balance import default_placement as default_placement
from localgrad.planning.costs import Costs as Costs
from localgrad.planning.costs import unit_costs as unit_costs
from localgrad.planning.fit import Fit as Fit
from localgrad.planning.fit import fit as fit
from localgrad.planning.links import Devices as Devices
from localgrad.planning.links import parse_devices as parse_devices
from localgrad.planning.links import parse_link as parse_link
from localgrad.planning.links import parse_size as parse_size
from localgrad.planning.loads import UnitTraffic as UnitTraffic
from localgrad.planning.loads import unit_traffic as unit_traffic
from localgrad.planning.make import make_plan as make_plan
from localgrad.planning.plan import Link as Link
from localgrad.planning.plan import Plan as Plan
from localgrad.planning.plan import UnitCost as UnitCost
from localgrad.planning.plan_file import plan_problems as plan_problems
from localgrad.planning.plan_file import read_plan as read_plan
from localgrad.planning.plan_file import write_plan as write_plan
from localgrad.planning.predict import Prediction as Prediction
from localgrad.planning.predict import predict as predict
from localgrad.planning.words import told as told
