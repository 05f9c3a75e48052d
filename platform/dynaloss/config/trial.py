"""The typed settings of one trial; defaults live here, once, and are the paper's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from dynaloss.config.data import DataConfig
from dynaloss.config.families import LOSSES, MODELS, SAMPLERS, SOURCES
from dynaloss.config.registry import OneOf
from dynaloss.config.settings import PathText, Real, Settings, refusal, rule_error


class ModelConfig(Settings):
    """The classifier.

    A model with settings of its own derives its class from this one.
    """

    name: Annotated[str, AfterValidator(MODELS.check)] = Field(
        default="resnet32",
        description="Name of the classifier; 'torchvision/resnet50' is one of torchvision's.",
    )
    pretrained_path: PathText = Field(
        default=None, description="File of weights to start from, .pt or .pth; null for none."
    )


class SamplerConfig(Settings):
    """How each epoch draws its metadata, the balanced subset for the outer loss.

    Every kind accepts all of these settings; a kind with one of its own has a subclass.
    """

    kind: Annotated[str, AfterValidator(SAMPLERS.check)] = Field(
        default="hierarchical",
        description="How samples are chosen; `dynaloss list` describes every kind.",
    )
    random_ratio: Real = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Random draw per class, as a share in (0, 1] of the smallest class.",
    )
    low_loss_ratio: Real = Field(
        default=0.5, gt=0, le=1, description="Share in (0, 1] of the random draw that is kept."
    )
    every: int = Field(
        default=1, ge=1, description="Epochs from one draw to the next, at least 1."
    )
    keep_in_train: bool = Field(
        default=False, description="Whether the metadata stay in the epoch's training split, too."
    )
    path: PathText = Field(
        default=None,
        validate_default=True,
        description="For clean: file of indices into the source's training images, .npy or .csv.",
    )

    @property
    def is_from_file(self) -> bool:
        """Whether the file at `path` names the metadata."""
        return "path" in SAMPLERS[self.kind].uses

    @field_validator("path")
    @classmethod
    def _given_where_it_is_read(cls, path: str | None, info: ValidationInfo) -> str | None:
        kind = SAMPLERS.get(info.data.get("kind", ""))
        if path is None and kind and "path" in kind.uses:
            raise rule_error(f"must name a file of indices where sampler.kind is '{kind.name}'")
        return path


class MetaConfig(Settings):
    """The outer level: Adam on the parameters of the loss."""

    lr: Real = Field(default=3e-3, gt=0, description="Learning rate of Adam, above 0.")
    every: int = Field(
        default=1, ge=1, description="Batches from one meta step to the next, at least 1."
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Metadata images per meta step, at least 1; null uses schedule.batch_size.",
    )
    hypergradient: Literal["forward", "unrolled", "head"] = Field(
        default="forward",
        description="How the gradient of the outer loss is computed. forward: exactly, up to "
        "rounding, by one forward-mode pass. unrolled: as exactly, by a second graph through the "
        "network, which needs more memory. head: as if the look-ahead step moved the last linear "
        "layer only, which is fastest and another gradient.",
    )


class OptimizerConfig(Settings):
    """The inner level: the optimizer of the weights of the classifier."""

    name: Literal["sgd", "adamw"] = Field(
        default="sgd",
        description="sgd: stochastic gradient descent with momentum. adamw: Adam with decoupled "
        "weight decay (Loshchilov, Hutter, ICLR 2019), which needs a smaller learning rate.",
    )
    lr: Real = Field(default=0.1, gt=0, description="Peak learning rate, above 0.")
    momentum: Real = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd, in [0, 1).")
    weight_decay: Real = Field(
        default=5e-4,
        ge=0,
        description="Weight decay, at least 0; adamw usually has a larger one, such as 0.05.",
    )
    beta1: Real = Field(
        default=0.9, ge=0, lt=1, description="Of adamw: decay of the mean gradient, in [0, 1)."
    )
    beta2: Real = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="Of adamw: decay of the mean of squared gradients, in [0, 1).",
    )
    eps: Real = Field(
        default=1e-8,
        gt=0,
        description="Of adamw: added to the root of that mean, above 0. The hypergradient of a "
        "weight that hardly has a gradient grows with its inverse.",
    )

    def effective(self) -> dict[str, Any]:
        """Settings that can affect the result, as plain values."""
        others = {"sgd": {"beta1", "beta2", "eps"}, "adamw": {"momentum"}}[self.name]
        return self.model_dump(exclude=others)


class ScheduleConfig(Settings):
    """How long a trial trains, in epochs, and in batches of what size."""

    epochs: int = Field(default=325, ge=1, description="Epochs of training, at least 1.")
    warmup_epochs: int = Field(
        default=5,
        ge=0,
        validate_default=True,
        description="Epochs of plain cross-entropy at the start, from 0 to `epochs`.",
    )
    batch_size: int = Field(default=512, ge=2, description="Images per batch, at least 2.")
    equal_batches: bool = Field(
        default=False,
        description="Whether the batches of an epoch are of nearly equal size. false: all are "
        "full but the last, which has what is left, as in the authors' code; a single image that "
        "is left joins the batch before.",
    )
    ramp_epochs: int = Field(
        default=5,
        ge=0,
        description="Epochs over which the learning rate rises from a tenth, at least 0.",
    )
    cosine: Literal["after_ramp", "from_start"] = Field(
        default="from_start",
        description="Where the decay begins; it is set once an epoch. "
        "from_start: it spans all epochs, multiplied by the ramp, which rises batch by batch, as "
        "in the authors' code. after_ramp: it spans the epochs after the ramp, which rises epoch "
        "by epoch.",
    )
    decay: Literal["cosine", "linear", "steps", "constant"] = Field(
        default="cosine",
        description="How the learning rate falls. cosine, linear: to 0. steps: by step_factor at "
        "two shares of the epochs. constant: not at all.",
    )
    first_step: Real = Field(
        default=0.5, ge=0, le=1, description="Share of the epochs before the first of the steps."
    )
    second_step: Real = Field(
        default=0.75, ge=0, le=1, description="Share of the epochs before the second."
    )
    step_factor: Real = Field(
        default=0.1, gt=0, le=1, description="Factor of each step, in (0, 1]."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Precision of the classifier's passes; losses and weights stay float32.",
    )
    deterministic: bool = Field(
        default=False,
        description="Whether equal trials are equal bit for bit on a GPU, too, which is slower; "
        "needs CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment. On a CPU they always are.",
    )
    compile: bool = Field(
        default=False,
        description="Whether the classifier's training passes go through torch.compile, for "
        "long trials; where that fails, a warning is given and the trial continues without.",
    )

    def effective(self) -> dict[str, Any]:
        """Settings that can affect the result, as plain values."""
        without = set() if self.decay == "steps" else {"first_step", "second_step", "step_factor"}
        # Without a ramp, the decay is the same from either beginning.
        return self.model_dump(exclude=without if self.ramp_epochs else without | {"cosine"})

    @field_validator("warmup_epochs")
    @classmethod
    def _within_training(cls, warmup_epochs: int, info: ValidationInfo) -> int:
        epochs = info.data.get("epochs", warmup_epochs)
        if warmup_epochs > epochs:
            raise rule_error(f"must be at most schedule.epochs ({epochs})")
        return warmup_epochs


class LossConfig(Settings):
    """Settings of a loss, and what the rest of a trial needs to know of it.

    Each loss has a subclass in its own module of `dynaloss.learning.losses`.
    """

    name: str = Field(description="Name of the loss.")

    @property
    def is_learned(self) -> bool:
        """Whether there are loss parameters to meta-learn."""
        return False

    @property
    def accepts_soft_targets(self) -> bool:
        """Whether targets may be distributions: only where the loss is linear in its target.

        Then the loss of a mixed target is the mixture of the losses. A mixed image has no loss
        and no observed class of its own.
        """
        return False

    @property
    def accepts_head_gradient(self) -> bool:
        """Whether `meta.hypergradient: head` comes near the exact gradient."""
        return True

    @property
    def has_cosine_head(self) -> bool:
        """Whether the last layer of the classifier gives cosines."""
        return False

    @property
    def num_ranks(self) -> int:
        """Number of bins per class by which training samples are ranked, at least 2."""
        return 100

    @property
    def has_random_ranks(self) -> bool:
        """Whether chance ranks the samples of a class, and not their loss."""
        return False

    @property
    def finetunes(self) -> bool:
        """Whether an epoch ends with one pass over its metadata."""
        return False

    @property
    def draws_metadata(self) -> bool:
        """Whether samples are ranked and metadata drawn, after a warm-up by cross-entropy."""
        return self.is_learned or self.finetunes

    def warm_start_length(self, warmup_epochs: int) -> int:
        """First epochs of warm-up in which the loss is fitted beside the classifier."""
        return 0

    def effective(self, schedule: ScheduleConfig) -> dict[str, Any]:
        """Settings that can affect the result under `schedule`, as nested plain values."""
        return self.model_dump()


_DATA = OneOf(SOURCES, tag="source", default="digits", base=DataConfig)
_MODEL = OneOf(MODELS, tag="name", default="resnet32", base=ModelConfig)
_SAMPLER = OneOf(SAMPLERS, tag="kind", default="hierarchical", base=SamplerConfig)
LOSS = OneOf(LOSSES, tag="name", default="dynamic", base=LossConfig)
"""The losses, with the class of the settings of each."""


class TrialConfig(Settings):
    """Everything that one trial computes from, except for its seed and the data themselves."""

    data: Annotated[DataConfig, _DATA] = DataConfig()
    model: Annotated[ModelConfig, _MODEL] = ModelConfig()
    loss: Annotated[LossConfig, LOSS] = Field(
        default_factory=LOSS.default_settings, validate_default=True
    )
    sampler: Annotated[SamplerConfig, _SAMPLER] = Field(default_factory=_SAMPLER.default_settings)
    meta: MetaConfig = MetaConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @property
    def meta_batch_size(self) -> int:
        """Metadata images per meta step."""
        return self.meta.batch_size or self.schedule.batch_size

    @property
    def idle_epochs(self) -> int:
        """Epochs in which trials that differ in the loss alone are nearly equal.

        Those of the warm-up, if something follows it, and of the learning rate's ramp.
        """
        warmup = self.schedule.warmup_epochs if self.loss.draws_metadata else 0
        return warmup + self.schedule.ramp_epochs

    @field_validator("loss")
    @classmethod
    def _fit_for_mixup(cls, loss: LossConfig, info: ValidationInfo) -> LossConfig:
        data = info.data.get("data")
        if data is not None and data.views.mixup and not loss.accepts_soft_targets:
            defaults: dict[str, Any] = {
                name: LOSS.find(name).model_validate({}) for name in LOSSES
            }
            fit = [f"'{name}'" for name, given in defaults.items() if given.accepts_soft_targets]
            raise refusal(
                f"must be {', '.join(fit[:-1])} or {fit[-1]} where data.views.mixup is above "
                f"0: '{loss.name}' has no target for a mixed image"
            )
        return loss

    @field_validator("meta")
    @classmethod
    def _fit_for_head(cls, meta: MetaConfig, info: ValidationInfo) -> MetaConfig:
        loss = info.data.get("loss")
        if meta.hypergradient == "head" and loss is not None and not loss.accepts_head_gradient:
            raise refusal(
                "must have the hypergradient 'forward' or 'unrolled' where loss.name is "
                f"'{loss.name}': the gradient of the last layer alone often points the other way"
            )
        return meta


class ResourcesConfig(Settings):
    """What one trial occupies; fractions let trials share a processor."""

    cpu: Real = Field(
        default=1.0,
        gt=0,
        description="CPU cores per trial, above 0. A trial computes with a thread per whole core, "
        "at least one; on a CPU their number changes its result.",
    )
    gpu: Real = Field(
        default=0.0, ge=0, description="GPUs per trial, at least 0, which trains on the CPU."
    )
    stack: int = Field(
        default=1,
        ge=1,
        description="Most trials that train together in one process, on one GPU or on the CPU, "
        "with the passes of equal networks computed as one; `cpu` and `gpu` then are those of all "
        "of them. 1: each trial trains by itself. Above 1 results differ by rounding.",
    )

    @property
    def threads(self) -> int:
        """Threads that a trial computes with: one per whole core, at least one."""
        return max(1, int(self.cpu))

    def effective(self) -> dict[str, Any]:
        """What of the resources affects a result, where it differs from one thread on a CPU.

        Another number of threads sums in another order, which training then magnifies. A trial on
        a GPU computes there: its threads only feed it, and how much of the GPU it has is no
        matter, but it sums otherwise than a CPU.
        """
        # Not how many are stacked: a sum depends on those that happen to train at the time.
        stacked = {"stacked": True} if self.stack > 1 else {}
        if self.gpu:
            return {"device": "gpu", **stacked}
        return {"threads": self.threads, **stacked} if self.threads > 1 else stacked

    @field_validator("stack")
    @classmethod
    def _on_one_device(cls, stack: int, info: ValidationInfo) -> int:
        gpu = info.data.get("gpu", 0.0)
        if stack > 1 and gpu > 1:
            raise rule_error(f"must be 1 where resources.gpu is above 1 ({gpu:g})")
        return stack
