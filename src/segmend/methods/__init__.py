"""All methods, by name. A method is registered by importing its class here."""

import inspect

from segmend.methods._base import LabelledCase as LabelledCase
from segmend.methods._base import Method as Method
from segmend.methods._base import Revision as Revision
from segmend.methods._base import Step as Step
from segmend.methods._two_networks import TwoNetworks as TwoNetworks
from segmend.methods.mixed.alc import ALC as ALC
from segmend.methods.mixed.decoupled import Decoupled as Decoupled
from segmend.methods.mixed.kdem import KDEM as KDEM
from segmend.methods.mixed.mix_seg_net import MixSegNet as MixSegNet
from segmend.methods.mixed.mlb_seg import MLBSeg as MLBSeg
from segmend.methods.mixed.mtcl import MTCL as MTCL
from segmend.methods.mixed.offset_correction import OffsetCorrection as OffsetCorrection
from segmend.methods.mixed.plil import PLIL as PLIL
from segmend.methods.mixed.reweighting import Reweighting as Reweighting
from segmend.methods.noisy.aide import AIDE as AIDE
from segmend.methods.noisy.annotator_confusion import AnnotatorConfusion as AnnotatorConfusion
from segmend.methods.noisy.bootstrapping import Bootstrapping as Bootstrapping
from segmend.methods.noisy.co_teaching import CoTeaching as CoTeaching
from segmend.methods.noisy.confident_learning import ConfidentLearning as ConfidentLearning
from segmend.methods.noisy.divide_mix import DivideMix as DivideMix
from segmend.methods.noisy.elr import ELR as ELR
from segmend.methods.noisy.jocor import JoCoR as JoCoR
from segmend.methods.noisy.mixup import Mixup as Mixup
from segmend.methods.noisy.mstfal import MSTFAL as MSTFAL
from segmend.methods.noisy.pick_and_learn import PickAndLearn as PickAndLearn
from segmend.methods.noisy.self_cleansing import SelfCleansing as SelfCleansing
from segmend.methods.noisy.superpixel import Superpixel as Superpixel
from segmend.methods.noisy.tbrats import TBraTS as TBraTS
from segmend.methods.noisy.tri_net import TriNet as TriNet
from segmend.methods.semi.bcp import BCP as BCP
from segmend.methods.semi.contrastive_pretraining import ContrastivePretraining as ContrastivePretraining
from segmend.methods.semi.cpcl import CPCL as CPCL
from segmend.methods.semi.cps import CPS as CPS
from segmend.methods.semi.dan import DAN as DAN
from segmend.methods.semi.dap_style import DAPStyle as DAPStyle
from segmend.methods.semi.deep_co_training import DeepCoTraining as DeepCoTraining
from segmend.methods.semi.discrete_mi import DiscreteMI as DiscreteMI
from segmend.methods.semi.dtc import DTC as DTC
from segmend.methods.semi.duwm_style import DUWMStyle as DUWMStyle
from segmend.methods.semi.entropy_minimisation import EntropyMinimisation as EntropyMinimisation
from segmend.methods.semi.lgermt import LGERMT as LGERMT
from segmend.methods.semi.mc_net import MCNet as MCNet
from segmend.methods.semi.mean_teacher import MeanTeacher as MeanTeacher
from segmend.methods.semi.pseudo_label import PseudoLabel as PseudoLabel
from segmend.methods.semi.sassnet import SASSNet as SASSNet
from segmend.methods.semi.self_paced_contrast import SelfPacedContrast as SelfPacedContrast
from segmend.methods.semi.uamt import UAMT as UAMT
from segmend.methods.semi.uni_match import UniMatch as UniMatch
from segmend.methods.semi.urpc import URPC as URPC
from segmend.methods.supervised.supervised import Supervised as Supervised


def all_methods() -> dict[str, type[Method]]:
    """Every method by its name, in alphabetical order."""
    public = {name: value for name, value in globals().items() if isinstance(value, type)}
    return {
        name: cls for name, cls in sorted(public.items()) if issubclass(cls, Method) and not inspect.isabstract(cls)
    }
