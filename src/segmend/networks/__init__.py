"""The networks of the papers, and MONAI's segmentation networks by name."""

from segmend.networks._base import Network as Network
from segmend.networks.fusion_unet import FusionUNet as FusionUNet
from segmend.networks.monai import UNETR as UNETR
from segmend.networks.monai import AttentionUnet as AttentionUnet
from segmend.networks.monai import BasicUNet as BasicUNet
from segmend.networks.monai import BasicUNetPlusPlus as BasicUNetPlusPlus
from segmend.networks.monai import DynUNet as DynUNet
from segmend.networks.monai import FlexibleUNet as FlexibleUNet
from segmend.networks.monai import HighResNet as HighResNet
from segmend.networks.monai import MedNeXt as MedNeXt
from segmend.networks.monai import MonaiUNet as MonaiUNet
from segmend.networks.monai import MonaiVNet as MonaiVNet
from segmend.networks.monai import SegResNet as SegResNet
from segmend.networks.monai import SegResNetDS as SegResNetDS
from segmend.networks.monai import SwinUNETR as SwinUNETR
from segmend.networks.planned_unet import PlannedUNet as PlannedUNet
from segmend.networks.res_unet import ResUNet as ResUNet
from segmend.networks.unet import UNet as UNet
from segmend.networks.unet_plus_plus import UNetPlusPlus as UNetPlusPlus
from segmend.networks.vnet import VNet as VNet


def all_networks() -> dict[str, type[Network]]:
    """Every network by its name, in alphabetical order."""
    public = {name: value for name, value in globals().items() if isinstance(value, type)}
    return {name: cls for name, cls in sorted(public.items()) if issubclass(cls, Network) and cls is not Network}
