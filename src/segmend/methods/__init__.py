"""All methods, by name. A method is known because its class is imported here."""

from segmend.methods._base import LabelledCase as LabelledCase
from segmend.methods._base import Method as Method
from segmend.methods._base import Revision as Revision
from segmend.methods._base import Step as Step
from segmend.methods.mixed.plil import PLIL as PLIL
from segmend.methods.semi.mean_teacher import MeanTeacher as MeanTeacher
from segmend.methods.supervised.supervised import Supervised as Supervised


def all_methods() -> dict[str, type[Method]]:
    """Every method by its name, in alphabetical order."""
    public = {name: value for name, value in globals().items() if isinstance(value, type)}
    return {name: cls for name, cls in sorted(public.items()) if issubclass(cls, Method) and cls is not Method}
