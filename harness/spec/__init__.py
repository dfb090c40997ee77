"""What a suite may say of one run: its sections, validated, and the hashes that identify it."""

from harness.spec.augment import Augment, ColorJitter, Erase, Evaluate, RandomResizedCrop
from harness.spec.run_spec import (
    NOT_IDENTITY,
    SPEC_VERSION,
    RunSpec,
    Seed,
    is_identity,
    parameters,
    parse_run_spec,
    run_id,
    section_model,
)
from harness.spec.section import ImageShape, Section, SpecError
from harness.spec.sections import (
    PLUGIN_SECTIONS,
    DataSection,
    LoaderSection,
    MeanStd,
    ModelSection,
    OptimizerSection,
    ScheduleSection,
    TrainSection,
)

__all__ = [
    "NOT_IDENTITY",
    "PLUGIN_SECTIONS",
    "SPEC_VERSION",
    "Augment",
    "ColorJitter",
    "DataSection",
    "Erase",
    "Evaluate",
    "ImageShape",
    "LoaderSection",
    "MeanStd",
    "ModelSection",
    "OptimizerSection",
    "RandomResizedCrop",
    "RunSpec",
    "ScheduleSection",
    "Section",
    "Seed",
    "SpecError",
    "TrainSection",
    "is_identity",
    "parameters",
    "parse_run_spec",
    "run_id",
    "section_model",
]
