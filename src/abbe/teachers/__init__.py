"""Teachers: frozen models, or what they left behind, and the driver that stores their answers."""

from abbe.registry import TEACHERS
from abbe.teachers.equivariance import Agreement, EquivarianceReport, check_equivariance
from abbe.teachers.introduction import introduction
from abbe.teachers.masks import masks
from abbe.teachers.networks.bioimageio import bioimageio
from abbe.teachers.networks.onnx import onnx
from abbe.teachers.networks.package import package
from abbe.teachers.networks.torch_module import torch_module
from abbe.teachers.plan import Plan, plan
from abbe.teachers.programs.cellpose import cellpose
from abbe.teachers.programs.cellsam import cellsam
from abbe.teachers.run import run
from abbe.teachers.sam.teacher import sam
from abbe.teachers.several import SeveralTeachers, several
from abbe.teachers.teach import TeachReport, provenance_of, teach
from abbe.teachers.teacher import AGREEMENT, Cost, CountedTeacher, Prediction, Teacher
from abbe.teachers.turned import turned

__all__ = [
    "AGREEMENT",
    "TEACHERS",
    "Agreement",
    "Cost",
    "CountedTeacher",
    "EquivarianceReport",
    "Plan",
    "Prediction",
    "SeveralTeachers",
    "TeachReport",
    "Teacher",
    "bioimageio",
    "cellpose",
    "cellsam",
    "check_equivariance",
    "introduction",
    "masks",
    "onnx",
    "package",
    "plan",
    "provenance_of",
    "run",
    "sam",
    "several",
    "teach",
    "torch_module",
    "turned",
]
