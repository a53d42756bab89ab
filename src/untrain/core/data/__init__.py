"""Samples, the batches cut from them, and their split into named parts."""

from untrain.core.data.batches import Batches as Batches
from untrain.core.data.batches import Beside as Beside
from untrain.core.data.batches import Inputs as Inputs
from untrain.core.data.batches import Plan as Plan
from untrain.core.data.batches import everywhere as everywhere
from untrain.core.data.batches import moved as moved
from untrain.core.data.batches import spread as spread
from untrain.core.data.batches import take as take
from untrain.core.data.dataset import Data as Data
from untrain.core.data.naming import class_numbers as class_numbers
from untrain.core.data.naming import distinct as distinct
from untrain.core.data.naming import places_of_files as places_of_files
from untrain.core.data.naming import places_where as places_where
from untrain.core.data.pixels import Augment as Augment
from untrain.core.data.pixels import CropFlip as CropFlip
from untrain.core.data.pixels import Norm as Norm
from untrain.core.data.pixels import Prepare as Prepare
from untrain.core.data.samples import Samples as Samples
from untrain.core.data.samples import Source as Source
from untrain.core.data.split import Split as Split
from untrain.core.datasets import LABELS as LABELS
from untrain.core.seeds import mix as mix
