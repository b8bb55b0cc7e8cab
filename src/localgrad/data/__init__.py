"""Data sets: specs that read the published files, and the loader that makes batches of them."""

from localgrad.data.checks import check_labels as check_labels
from localgrad.data.cifar10 import CIFAR10 as CIFAR10
from localgrad.data.cifar100 import CIFAR100 as CIFAR100
from localgrad.data.digits import Digits as Digits
from localgrad.data.errors import DataError as DataError
from localgrad.data.folder import ImageFolder as ImageFolder
from localgrad.data.images import Augment as Augment
from localgrad.data.images import Data as Data
from localgrad.data.images import ImageSet as ImageSet
from localgrad.data.images import Split as Split
from localgrad.data.loader import Loader as Loader
from localgrad.data.stl10 import STL10 as STL10
from localgrad.data.stratify import split_validation as split_validation
from localgrad.data.svhn import SVHN as SVHN
