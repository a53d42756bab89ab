"""torchvision, timm and transformers: how they are imported, in `core.vision`, since the zoo's data stand on it too."""

from untrain.core.vision import import_timm as import_timm
from untrain.core.vision import import_torchvision as import_torchvision
from untrain.core.vision import import_transformers as import_transformers
