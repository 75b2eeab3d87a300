"""The papers' own networks, and any segmentation network of MONAI by its name."""

from segmend.networks._base import Network as Network
from segmend.networks.vnet import VNet as VNet
