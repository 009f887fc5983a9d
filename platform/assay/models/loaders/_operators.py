"""Which operators of PyTorch an exported program may call: a positive list, made of what torch says of its own.

An operator passes if torch counts it among the core operators, decomposes it into them, or composes it of others, if
its name is public, and if it changes nothing but, in place, the tensor it is called on. That leaves out what reads or
writes files, sets the state of the process, reads memory that nobody wrote, or trusts indices unchecked.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import torch


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRIVATE = _names(
    "_to_copy _softmax _log_softmax _adaptive_avg_pool2d _adaptive_avg_pool3d _cdist_forward _pdist_forward "
    "_native_batch_norm_legit _native_batch_norm_legit_no_training _fft_r2c _fft_c2r _fft_c2c _weight_norm "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_nearest_exact2d _assert_tensor_metadata "
    "_scaled_dot_product_flash_attention_for_cpu _conj _unsafe_view"
)
"""Names with a leading underscore that exporting writes, and whose arguments are checked."""

PLAIN = _names(
    "linalg_vector_norm linalg_cholesky_ex linalg_eig linalg_inv_ex linalg_solve_triangular linalg_qr unfold "
    "lift_fresh lift_fresh_copy median nanmedian kthvalue mode cummax cummin cumprod logcumsumexp exp2 erfc "
    "erfinv lgamma digamma searchsorted bucketize addmv addbmm adaptive_max_pool2d adaptive_max_pool3d "
    "grid_sampler_3d cholesky_inverse polar complex view_as_real view_as_complex new_tensor hypot nextafter "
    "cauchy triangular_solve rand_like randn_like randint tril_indices triu_indices"
)
"""Public functions that torch keeps whole: neither core, nor decomposed, nor composed."""

REFUSED = re.compile(
    r"(?:set|resize|empty|new_empty|sparse|quantize|quantized|fbgemm|cudnn|miopen|mkldnn|thnn|to_mkldnn|to_sparse|nested"
    r"|choose_qparams|fake_quantize|embedding_bag|as_strided_|record_stream|retain_grad|requires_grad|data|rename"
    r"|align|get_gradients|segment|fused|embedding_renorm|histogramdd|q_|int_repr|dequantize)(?:_\w*)?|\w*backward\w*|\w*_data"
)
"""Public names that are refused all the same."""


def allowed(target: str) -> bool:
    """Whether `torch.ops.aten.NAME.OVERLOAD` may be called."""
    name, overload = target.removeprefix("torch.ops.aten.").split(".")
    operator = _operator(name, overload)
    if operator is None or REFUSED.fullmatch(name) or (name.startswith("_") and name not in PRIVATE):
        return False
    return name in PRIVATE or (_known(operator) and _changes_nothing_else(operator)) or _in_place(operator, name)


def _operator(name: str, overload: str) -> Any | None:
    return getattr(getattr(torch.ops.aten, name, None), overload, None)


def _known(operator: Any) -> bool:
    """Whether it is core, decomposes into core operators, or is composed of operators."""
    full = operator.name()
    if full.partition("::")[2].partition(".")[0] in PLAIN:
        return True
    try:
        composed = torch._C._dispatch_has_kernel_for_dispatch_key(full, "CompositeImplicitAutograd")
    except RuntimeError:  # it is known to TorchScript alone
        return False
    return composed or torch.Tag.core in operator.tags or operator in _decomposed()


@functools.cache
def _decomposed() -> frozenset[Any]:
    return frozenset(torch.export.default_decompositions()) | frozenset(torch._decomp.core_aten_decompositions())


def _changes_nothing_else(operator: Any) -> bool:
    return not operator._schema.is_mutable


def _in_place(operator: Any, name: str) -> bool:
    """Whether it is the in-place form, as `relu_`, of an operator that is allowed, and writes to `self` alone."""
    written = [a.name for a in operator._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    if not name.endswith("_") or name.endswith("__") or written != ["self"]:
        return False
    plain = getattr(torch.ops.aten, name[:-1], None)
    return plain is not None and any(allowed(f"torch.ops.aten.{name[:-1]}.{one}") for one in plain.overloads())
