"""The sections of a run's spec: what a suite may say of its model, data, loader, optimizer, schedule and training."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from harness.parameters import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from harness.spec.augment import Augment, Evaluate
from harness.spec.section import Section


def _no_to_string(value: Any) -> Any:
    return "no" if value is False else value  # YAML 1.1 reads a bare `no` as false


class MeanStd(Section):
    """Channel means and deviations of pixel values in [0, 1]."""

    mean: list[float] = Field(min_length=1)
    std: list[PositiveFloat] = Field(min_length=1)


def _fits_the_augmentation(evaluate: Evaluate | None, others: ValidationInfo) -> Evaluate | None:
    augment = others.data.get("augment")
    if not evaluate or not augment:
        return evaluate
    if evaluate.crop > evaluate.resize:
        raise ValueError(f"crop, {evaluate.crop}, must not be above resize, {evaluate.resize}")
    if augment.resize:
        raise ValueError("null, or data.augment.resize: both bring images to one size")
    if (cropped := augment.random_resized_crop) and cropped.size != evaluate.crop:
        raise ValueError(f"crop must be {cropped.size}, as data.augment.random_resized_crop.size")
    return evaluate


class ModelSection(Section):
    """The architecture and its parameters."""

    name: str
    whiten: PositiveInt | None = Field(
        default=None, description="side of the patches that a fixed first layer makes uncorrelated (arXiv 2404.00498)"
    )


class DataSection(Section):
    """The dataset, its parameters, and what is done to its images."""

    name: str
    augment: Augment = Augment()
    evaluate: Annotated[Evaluate | None, AfterValidator(_fits_the_augmentation)] = Field(
        default=None, description="take files of any size as they are, cut from the original pixels"
    )
    normalize: Literal["train", "none", "half", "cifar10", "cifar100", "imagenet"] | MeanStd = Field(
        default="train", description="mean and deviation: of the training split, a data set's published ones, or none"
    )
    validation: Fraction = Field(default=0.0, description="share of the training images held out, stratified by class")
    validation_seed: NonNegativeInt = Field(default=0, description="which images are held out; the same for every seed")
    train_samples: PositiveInt | None = Field(default=None, description="use a stratified slice of the training images")
    test_samples: PositiveInt | None = Field(default=None, description="use a stratified slice of the test images")


class LoaderSection(Section):
    """The loader that feeds the device, and its parameters."""

    name: str


class OptimizerSection(Section):
    """The optimizer and its parameters."""

    name: str
    weight_decay_on: Literal["all", "weights"] = Field(
        default="all", description="'weights' leaves norm parameters and biases without weight decay"
    )
    norm_bias_lr_scale: PositiveFloat = Field(
        default=1.0, description="the biases of norms learn so many times faster (arXiv 2404.00498)"
    )


class ScheduleSection(Section):
    """The learning-rate schedule and its parameters."""

    name: str
    warmup_epochs: NonNegativeFloat = Field(
        default=0.0, description="the learning rate rises linearly from zero for so long"
    )


class TrainSection(Section):
    """How long, how large and how exactly to train."""

    epochs: PositiveInt = 10
    global_batch_size: PositiveInt = Field(default=128, description="samples an optimizer step, over all processes")
    num_processes: PositiveInt | None = Field(
        default=None, description="world size; unset: as launched, one by default"
    )
    gradient_accumulation_steps: PositiveInt = Field(default=1, description="micro-batches an optimizer step")
    mixed_precision: Annotated[Literal["auto", "no", "fp16", "bf16", "bf16-true"], BeforeValidator(_no_to_string)] = (
        Field(default="auto", description="bf16-true: the weights are kept in bfloat16, too, those of batch norm not")
    )
    tf32: bool = Field(
        default=False, description="TensorFloat-32 in matrix products and convolutions of Ampere and later"
    )
    channels_last: bool = False
    compile: bool | Literal["reduce-overhead", "max-autotune"] = Field(default=False, description="torch.compile")
    activation_checkpointing: bool = Field(
        default=False,
        description="compute activations anew in the backward pass: less memory, more time (arXiv 1604.06174)",
    )
    deterministic: bool = Field(
        default=False, description="the same bits again on the same system, at some cost in time"
    )
    label_smoothing: Fraction = 0.0
    clip_grad_norm: PositiveFloat | None = None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="evaluate an exponential moving average of the weights with this decay a step"
    )
    drop_last: bool = Field(default=False, description="leave out the epoch's last, smaller batch")
    shuffle: Literal["each_epoch", "once", "never"] = Field(
        default="each_epoch",
        description="'once' draws one order for all epochs, 'never' keeps the stored one: of folders, class by class",
    )
    loss: Literal["cross_entropy", "cross_entropy_after_softmax", "binary_cross_entropy"] = Field(
        default="cross_entropy",
        description="the second applies softmax twice: a mistake that is often published; the third takes each class "
        "by itself, the mean over classes (arXiv 2110.00476)",
    )
    class_weights: Literal["balanced"] | list[NonNegativeFloat] | None = Field(
        default=None,
        description="in the loss, of each class; balanced: images / classes / images of the class",
    )
    evaluate_every_epochs: PositiveInt = Field(default=1, description="the last epoch is always evaluated")
    eval_batch_size: PositiveInt = Field(default=512, description="test samples a forward pass, for each process")
    evaluate_views: Literal["one", "flips", "flips_and_shifts"] = Field(
        default="one", description="average the logits of mirrored, and of shifted images, too"
    )
    evaluate_views_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="take these views of so much of each batch: the images that are least certain"
    )
    evaluate_train: bool = Field(
        default=False,
        description="take train metrics in a pass of their own after the epoch: images not augmented, weights at rest",
    )
    dropout_in_evaluation: bool = Field(default=False, description="a mistake that is often published")
    mean_batch_recall: bool = Field(
        default=False,
        description="of evaluated splits, also record macro recall averaged over batches, and over epochs (report 3)",
    )
    untimed_steps: NonNegativeInt = Field(default=5, description="first steps that throughput leaves out")
    keep_weights: bool = Field(default=True, description="leave the final weights in the run's folder")
    checkpoint_every_seconds: PositiveFloat | None = Field(
        default=300.0, description="a run that is interrupted goes on from its last checkpoint; null for none by time"
    )
    checkpoint_every_steps: PositiveInt | None = None
    timeout_seconds: PositiveFloat = Field(default=1800.0, description="no step for so long is a hang")
    retry_out_of_memory: bool = Field(
        default=False,
        description="halve micro-batches until they fit the memory; batch norm sees smaller batches then",
    )

    @property
    def world_size(self) -> int:
        """Processes that train the run; one where nobody has said how many."""
        return self.num_processes or 1

    @property
    def micro_batch_size(self) -> int:
        """Samples of one forward pass on one process."""
        return self.global_batch_size // (self.world_size * self.gradient_accumulation_steps)

    def with_halved_micro_batches(self) -> Self | None:
        """Returns the section with twice as many micro-batches a step; None where they cannot be halved."""
        steps = 2 * self.gradient_accumulation_steps
        size, rest = divmod(self.global_batch_size, self.world_size * steps)
        return None if rest or size < 2 else self.model_copy(update={"gradient_accumulation_steps": steps})

    @property
    def records_graphs(self) -> bool:
        """Whether steps become CUDA graphs, where there is a GPU."""
        return isinstance(self.compile, str)

    @property
    def keeps_gradients(self) -> bool:
        """Whether gradients stay where they are from step to step, to be added to.

        Those that a CUDA graph made would be overwritten by the next micro-batch (pytorch#169545).
        """
        return self.records_graphs and self.gradient_accumulation_steps > 1


PLUGIN_SECTIONS: dict[str, tuple[str, type[Section]]] = {
    "model": ("architecture", ModelSection),
    "data": ("dataset", DataSection),
    "loader": ("loader", LoaderSection),
    "optimizer": ("optimizer", OptimizerSection),
    "schedule": ("schedule", ScheduleSection),
}
