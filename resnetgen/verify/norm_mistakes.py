"""The mistakes that norms are known to suffer, and the value that each of them gives."""

from collections.abc import Iterator

import numpy as np

from resnetgen.ir.ops import BatchNorm2d, GroupNorm, Norm
from resnetgen.verify.mistake import Mistake
from resnetgen.verify.reference import Array, Tensors, normalize, normalize_groups


def of_batch_norm(
    op: BatchNorm2d, value: Array, tensors: Tensors, seen: Array | None
) -> Iterator[Mistake]:
    # In training these are the batch's, and the running ones are called `kept`.
    mean, variance = tensors["running_mean"], tensors["running_var"]
    gamma, beta = tensors["weight"], tensors["bias"]
    ones, zeros = np.ones_like(mean), np.zeros_like(mean)

    def norm(
        *,
        mean: Array = mean,
        variance: Array = variance,
        gamma: Array = gamma,
        beta: Array = beta,
        epsilon: float = op.epsilon,
    ) -> Array:
        return normalize(
            value, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon
        )

    yield Mistake("is missing", value)
    yield Mistake("has no epsilon", norm(epsilon=0.0))
    if seen is not None and seen.shape == value.shape:
        channel = int(np.argmin(variance))
        epsilon = _solve_epsilon(
            (value[:, channel] - mean[channel]) * gamma[channel],
            seen[:, channel] - beta[channel],
            variance=float(variance[channel]),
            wanted=op.epsilon,
        )
        if epsilon is not None:
            yield Mistake(_epsilon_cause(epsilon, op), norm(epsilon=epsilon))
    yield Mistake("gamma and beta are swapped", norm(gamma=beta, beta=gamma))
    # A negative mean has no root: where it stands for the variance, some channels are NaN.
    yield Mistake("mean and variance are swapped", norm(mean=variance, variance=mean))
    yield Mistake("takes the mean for the variance", norm(variance=mean))
    yield Mistake("does not scale by gamma", norm(gamma=ones))
    yield Mistake("does not add beta", norm(beta=zeros))
    yield Mistake("does not subtract the mean", norm(mean=zeros))
    yield Mistake("does not divide by the deviation", norm(variance=ones, epsilon=0.0))
    yield Mistake("has neither gamma nor beta", norm(gamma=ones, beta=zeros))
    squared = np.square(variance)
    yield Mistake("divides by the variance, not its root", norm(variance=squared))
    yield Mistake("has running statistics of 0 and 1", norm(mean=zeros, variance=ones))
    behind = np.square(np.sqrt(variance) + op.epsilon)
    yield Mistake("adds epsilon behind the root", norm(variance=behind, epsilon=0.0))
    of_images = normalize_groups(
        value, gamma=gamma, beta=beta, groups=op.channels, epsilon=op.epsilon
    )
    yield Mistake("normalizes each image by itself", of_images)
    if "kept_mean" in tensors:
        yield Mistake(
            "uses the running statistics, not the batch's",
            norm(mean=tensors["kept_mean"], variance=tensors["kept_var"]),
        )
        count = value.size // op.channels
        unbiased = variance * count / (count - 1)
        yield Mistake("divides by the unbiased deviation", norm(variance=unbiased))
    else:
        yield Mistake(
            "uses the batch's statistics, not the running ones",
            norm(mean=value.mean(axis=(0, 2, 3)), variance=value.var(axis=(0, 2, 3))),
        )


def of_group_norm(
    op: GroupNorm, value: Array, tensors: Tensors, seen: Array | None
) -> Iterator[Mistake]:
    gamma, beta = tensors["weight"], tensors["bias"]
    ones, zeros = np.ones_like(gamma), np.zeros_like(beta)

    def norm(
        *,
        gamma: Array = gamma,
        beta: Array = beta,
        groups: int = op.groups,
        epsilon: float = op.epsilon,
    ) -> Array:
        return normalize_groups(value, gamma=gamma, beta=beta, groups=groups, epsilon=epsilon)

    yield Mistake("is missing", value)
    yield Mistake("has no epsilon", norm(epsilon=0.0))
    if seen is not None and seen.shape == value.shape:
        rows = value[0].reshape(op.groups, op.channels // op.groups, -1)
        variances = rows.var(axis=(1, 2))
        group = int(np.argmin(variances))
        channel = group * (op.channels // op.groups)
        epsilon = _solve_epsilon(
            (value[0, channel] - rows[group].mean()) * gamma[channel],
            seen[0, channel] - beta[channel],
            variance=float(variances[group]),
            wanted=op.epsilon,
        )
        if epsilon is not None:
            yield Mistake(_epsilon_cause(epsilon, op), norm(epsilon=epsilon))
    yield Mistake("gamma and beta are swapped", norm(gamma=beta, beta=gamma))
    yield Mistake("does not scale by gamma", norm(gamma=ones))
    yield Mistake("does not add beta", norm(beta=zeros))
    yield Mistake("has neither gamma nor beta", norm(gamma=ones, beta=zeros))
    for groups in range(1, op.channels + 1):
        if op.channels % groups == 0 and groups != op.groups:
            yield Mistake(f"takes {groups} groups, not {op.groups}", norm(groups=groups))
    if len(value) > 1:
        mean, variance = value.mean(axis=(0, 2, 3)), value.var(axis=(0, 2, 3))
        cause = "normalizes each channel over the batch"
        yield Mistake(
            cause,
            normalize(
                value, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=op.epsilon
            ),
        )


def _epsilon_cause(epsilon: float, op: Norm) -> str:
    return f"epsilon is {epsilon:.4g} instead of {op.epsilon:g}"


def _solve_epsilon(scaled: Array, target: Array, *, variance: float, wanted: float) -> float | None:
    """The epsilon that explains one channel, to four digits, if it is not the one wanted.

    `scaled` is (value - mean) * gamma, and there target = scaled / sqrt(variance + epsilon).
    """
    ratio = float((scaled * target).sum() / np.square(scaled).sum())
    if ratio <= 0.0:
        return None
    epsilon = float(f"{1 / ratio**2 - variance:.4g}")
    return epsilon if 0.0 < epsilon < 1.0 and epsilon != wanted else None
