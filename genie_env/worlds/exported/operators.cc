#include "genie_env/worlds/exported/operators.h"

#include <algorithm>
#include <array>

namespace genie_env {
namespace {

constexpr std::string_view kAten = "torch.ops.aten.";

// Sorted. A test checks that torch has each of them and that none changes its arguments. Those that
// are random or change their arguments only in training are served with training off: see graph.cc.
// clang-format off
constexpr auto kServedAten = std::to_array<std::string_view>({
    "_adaptive_avg_pool2d.default", "_adaptive_avg_pool3d.default",
    "_assert_tensor_metadata.default", "_convolution.default", "_log_softmax.default",
    "_native_batch_norm_legit_no_training.default", "_prelu_kernel.default", "_softmax.default",
    "_to_copy.default", "_upsample_bicubic2d_aa.default", "_upsample_bicubic2d_aa.vec",
    "_upsample_bilinear2d_aa.default", "_upsample_bilinear2d_aa.vec",
    "_upsample_nearest_exact1d.default", "_upsample_nearest_exact1d.vec",
    "_upsample_nearest_exact2d.default", "_upsample_nearest_exact2d.vec",
    "_upsample_nearest_exact3d.default", "_upsample_nearest_exact3d.vec", "_weight_norm.default",
    "_weight_norm_interface.default", "abs.default", "absolute.default", "acos.default",
    "acosh.default", "adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default",
    "adaptive_avg_pool3d.default", "adaptive_max_pool1d.default", "adaptive_max_pool2d.default",
    "adaptive_max_pool3d.default", "add.Scalar", "add.Tensor", "addbmm.default", "addcdiv.default",
    "addcmul.default", "addmm.default", "addmv.default", "addr.default", "adjoint.default",
    "affine_grid_generator.default", "alias.default", "alias_copy.default", "all.default",
    "all.dim", "all.dims", "amax.default", "amin.default", "aminmax.default", "any.default",
    "any.dim", "any.dims", "arange.default", "arange.start", "arange.start_step", "arccos.default",
    "arccosh.default", "arcsin.default", "arcsinh.default", "arctan.default", "arctan2.default",
    "arctanh.default", "argmax.default", "argmin.default", "argsort.default", "argsort.stable",
    "asin.default", "asinh.default", "atan.default", "atan2.default", "atanh.default",
    "atleast_1d.Sequence", "atleast_1d.default", "atleast_2d.Sequence", "atleast_2d.default",
    "atleast_3d.Sequence", "atleast_3d.default", "avg_pool1d.default", "avg_pool2d.default",
    "avg_pool3d.default", "baddbmm.default", "batch_norm.default", "bilinear.default",
    "bitwise_and.Scalar", "bitwise_and.Scalar_Tensor", "bitwise_and.Tensor",
    "bitwise_left_shift.Scalar_Tensor", "bitwise_left_shift.Tensor",
    "bitwise_left_shift.Tensor_Scalar", "bitwise_not.default", "bitwise_or.Scalar",
    "bitwise_or.Scalar_Tensor", "bitwise_or.Tensor", "bitwise_right_shift.Scalar_Tensor",
    "bitwise_right_shift.Tensor", "bitwise_right_shift.Tensor_Scalar", "bitwise_xor.Scalar",
    "bitwise_xor.Scalar_Tensor", "bitwise_xor.Tensor", "bmm.default", "broadcast_tensors.default",
    "broadcast_to.default", "bucketize.Scalar", "bucketize.Tensor", "cat.default", "cdist.default",
    "ceil.default", "celu.default", "channel_shuffle.default", "chunk.default", "clamp.Tensor",
    "clamp.default", "clamp_max.Tensor", "clamp_max.default", "clamp_min.Tensor",
    "clamp_min.default", "clip.Tensor", "clip.default", "clone.default", "col2im.default",
    "column_stack.default", "concat.default", "concatenate.default", "constant_pad_nd.default",
    "contiguous.default", "conv1d.default", "conv1d.padding", "conv2d.default", "conv2d.padding",
    "conv3d.default", "conv3d.padding", "conv_transpose1d.default", "conv_transpose2d.input",
    "conv_transpose3d.input", "convolution.default", "copy.default", "copysign.Scalar",
    "copysign.Tensor", "cos.default", "cosh.default", "cosine_similarity.default",
    "count_nonzero.default", "count_nonzero.dim_IntList", "cross.default", "cummax.default",
    "cummin.default", "cumprod.default", "cumsum.default", "deg2rad.default", "detach.default",
    "detach_copy.default", "diag.default", "diag_embed.default", "diagflat.default",
    "diagonal.default", "diagonal_copy.default", "diagonal_scatter.default", "diff.default",
    "digamma.default", "div.Scalar", "div.Scalar_mode", "div.Tensor", "div.Tensor_mode",
    "divide.Scalar", "divide.Scalar_mode", "divide.Tensor", "divide.Tensor_mode", "dot.default",
    "dsplit.array", "dsplit.int", "dstack.default", "einsum.default", "elu.default",
    "embedding.default", "eq.Scalar", "eq.Tensor", "erf.default", "erfc.default", "erfinv.default",
    "exp.default", "exp2.default", "expand.default", "expand_as.default", "expand_copy.default",
    "expm1.default", "eye.default", "eye.m", "fill.Scalar", "fill.Tensor", "fix.default",
    "flatten.using_ints", "flip.default", "fliplr.default", "flipud.default", "float_power.Scalar",
    "float_power.Tensor_Scalar", "float_power.Tensor_Tensor", "floor.default",
    "floor_divide.Scalar", "floor_divide.default", "fmax.default", "fmin.default", "fmod.Scalar",
    "fmod.Tensor", "frac.default", "full.default", "full_like.default", "gather.default",
    "ge.Scalar", "ge.Tensor", "gelu.default", "ger.default", "glu.default", "greater.Scalar",
    "greater.Tensor", "greater_equal.Scalar", "greater_equal.Tensor", "grid_sampler.default",
    "grid_sampler_2d.default", "grid_sampler_3d.default", "group_norm.default", "gru.input",
    "gru_cell.default", "gt.Scalar", "gt.Tensor", "hardshrink.default", "hardsigmoid.default",
    "hardswish.default", "hardtanh.default", "heaviside.default", "hsplit.array", "hsplit.int",
    "hstack.default", "hypot.default", "i0.default", "im2col.default", "index.Tensor",
    "index_add.default", "index_copy.default", "index_fill.int_Scalar", "index_fill.int_Tensor",
    "index_put.default", "index_select.default", "inner.default", "instance_norm.default",
    "isclose.default", "isfinite.default", "isin.Tensor_Tensor", "isinf.default", "isnan.default",
    "isneginf.default", "isposinf.default", "isreal.default", "kthvalue.default",
    "layer_norm.default", "ldexp.Tensor", "le.Scalar", "le.Tensor", "leaky_relu.default",
    "lerp.Scalar", "lerp.Tensor", "less.Scalar", "less.Tensor", "less_equal.Scalar",
    "less_equal.Tensor", "lgamma.default", "lift_fresh_copy.default", "linalg_cross.default",
    "linalg_diagonal.default", "linalg_matmul.default", "linalg_multi_dot.default",
    "linalg_norm.default", "linalg_vecdot.default", "linalg_vector_norm.default", "linear.default",
    "linspace.default", "log.default", "log10.default", "log1p.default", "log2.default",
    "log_sigmoid.default", "log_softmax.int", "logaddexp.default", "logaddexp2.default",
    "logcumsumexp.default", "logical_and.default", "logical_not.default", "logical_or.default",
    "logical_xor.default", "logit.default", "logsumexp.default", "lstm.input", "lstm_cell.default",
    "lt.Scalar", "lt.Tensor", "mT.default", "masked_fill.Scalar", "masked_fill.Tensor",
    "matmul.default", "max.default", "max.dim", "max.other", "max_pool1d.default",
    "max_pool1d_with_indices.default", "max_pool2d.default", "max_pool2d_with_indices.default",
    "max_pool3d.default", "max_pool3d_with_indices.default", "maximum.default", "mean.default",
    "mean.dim", "median.default", "median.dim", "meshgrid.default", "meshgrid.indexing",
    "min.default", "min.dim", "min.other", "minimum.default", "mish.default", "mm.default",
    "moveaxis.int", "moveaxis.intlist", "movedim.int", "movedim.intlist", "msort.default",
    "mul.Scalar", "mul.Tensor", "multiply.Scalar", "multiply.Tensor", "mv.default",
    "nan_to_num.default", "nanmean.default", "nansum.default", "narrow.default",
    "narrow_copy.default", "native_channel_shuffle.default", "native_group_norm.default",
    "native_layer_norm.default", "ne.Scalar", "ne.Tensor", "neg.default", "negative.default",
    "new_full.default", "new_ones.default", "new_zeros.default", "norm.Scalar",
    "norm.ScalarOpt_dim", "norm.ScalarOpt_dim_dtype", "norm.ScalarOpt_dtype", "not_equal.Scalar",
    "not_equal.Tensor", "one_hot.default", "ones.default", "ones_like.default", "outer.default",
    "pad.default", "pairwise_distance.default", "permute.default", "permute_copy.default",
    "pixel_shuffle.default", "pixel_unshuffle.default", "positive.default", "pow.Scalar",
    "pow.Tensor_Scalar", "pow.Tensor_Tensor", "prelu.default", "prod.default", "prod.dim_int",
    "quantile.default", "quantile.scalar", "rad2deg.default", "ravel.default", "reciprocal.default",
    "reflection_pad1d.default", "reflection_pad2d.default", "reflection_pad3d.default",
    "relu.default", "relu6.default", "remainder.Scalar", "remainder.Scalar_Tensor",
    "remainder.Tensor", "repeat.default", "repeat_interleave.self_int", "replication_pad1d.default",
    "replication_pad2d.default", "replication_pad3d.default", "reshape.default",
    "reshape_as.default", "rms_norm.default", "rnn_relu.input", "rnn_relu_cell.default",
    "rnn_tanh.input", "rnn_tanh_cell.default", "roll.default", "rot90.default", "round.decimals",
    "round.default", "row_stack.default", "rsqrt.default", "rsub.Scalar", "rsub.Tensor",
    "scalar_tensor.default", "scaled_dot_product_attention.default", "scatter.reduce",
    "scatter.src", "scatter.value", "scatter.value_reduce", "scatter_add.default",
    "scatter_reduce.two", "searchsorted.Scalar", "searchsorted.Tensor", "select.int",
    "select_copy.int", "select_scatter.default", "selu.default", "sgn.default", "sigmoid.default",
    "sign.default", "signbit.default", "silu.default", "sin.default", "sinc.default",
    "sinh.default", "slice.Tensor", "slice_copy.Tensor", "slice_scatter.default", "softmax.int",
    "softplus.default", "softshrink.default", "sort.default", "sort.stable", "special_entr.default",
    "special_erf.default", "special_erfc.default", "special_exp2.default", "special_expit.default",
    "special_expm1.default", "special_i0.default", "special_log1p.default",
    "special_log_softmax.default", "special_logit.default", "special_logsumexp.default",
    "special_ndtr.default", "special_round.default", "special_sinc.default",
    "special_softmax.default", "special_xlogy.default", "split.Tensor", "split.sizes",
    "split_copy.Tensor", "split_with_sizes.default", "split_with_sizes_copy.default",
    "sqrt.default", "square.default", "squeeze.default", "squeeze.dim", "squeeze.dims",
    "squeeze_copy.default", "squeeze_copy.dim", "squeeze_copy.dims", "stack.default",
    "std.correction", "std.default", "std.dim", "std_mean.correction", "std_mean.default",
    "std_mean.dim", "sub.Scalar", "sub.Tensor", "subtract.Scalar", "subtract.Tensor", "sum.default",
    "sum.dim_IntList", "swapaxes.default", "swapdims.default", "sym_size.int", "t.default",
    "t_copy.default", "take_along_dim.default", "tan.default", "tanh.default",
    "tensor_split.indices", "tensor_split.sections", "tensordot.default", "threshold.default",
    "tile.default", "to.dtype", "to.dtype_layout", "topk.default", "trace.default", "transpose.int",
    "transpose_copy.int", "tril.default", "triu.default", "true_divide.Scalar",
    "true_divide.Tensor", "trunc.default", "type_as.default", "unbind.int", "unbind_copy.int",
    "unflatten.int", "unfold.default", "unfold_copy.default", "unsqueeze.default",
    "unsqueeze_copy.default", "upsample_bicubic2d.default", "upsample_bicubic2d.vec",
    "upsample_bilinear2d.default", "upsample_bilinear2d.vec", "upsample_linear1d.default",
    "upsample_linear1d.vec", "upsample_nearest1d.default", "upsample_nearest1d.vec",
    "upsample_nearest2d.default", "upsample_nearest2d.vec", "upsample_nearest3d.default",
    "upsample_nearest3d.vec", "upsample_trilinear3d.default", "upsample_trilinear3d.vec",
    "var.correction", "var.default", "var.dim", "var_mean.correction", "var_mean.default",
    "var_mean.dim", "view.default", "view_as.default", "view_copy.default", "vsplit.array",
    "vsplit.int", "vstack.default", "where.Scalar", "where.ScalarOther", "where.ScalarSelf",
    "where.self", "xlogy.Scalar_Other", "xlogy.Scalar_Self", "xlogy.Tensor", "zeros.default",
    "zeros_like.default"});
// clang-format on

constexpr auto kServedOfRows = std::to_array<std::string_view>(
    {"_operator.add", "_operator.floordiv", "_operator.mul", "_operator.sub"});

/// Operators that are not served, by the beginning of their names, and why.
struct Unserved {
  std::string_view beginning, reason;
};

constexpr std::string_view kRandom =
    "draws random numbers: declare them in `noise`, and take them as an input";
constexpr std::string_view kTraining =
    "belongs to training: call eval() on the model before it is exported";
constexpr std::string_view kDataDependent =
    "gives a tensor whose shape depends on values: use torch.where, masked_fill or gather, which "
    "keep "
    "the shape";
constexpr std::string_view kValueOfTensor =
    "reads a number out of a tensor: keep it as a tensor, since rows differ";
constexpr std::string_view kUninitialised =
    "gives memory that nothing was written to: use torch.zeros or torch.full";
constexpr std::string_view kStorage =
    "works on the memory of a tensor: use view, reshape or expand";

// clang-format off
constexpr auto kUnserved = std::to_array<Unserved>({
    {"rand", kRandom}, {"normal", kRandom}, {"bernoulli", kRandom}, {"multinomial", kRandom},
    {"poisson.", kRandom}, {"uniform", kRandom}, {"exponential", kRandom}, {"geometric", kRandom},
    {"cauchy", kRandom}, {"log_normal", kRandom}, {"binomial", kRandom},
    {"_standard_gamma", kRandom}, {"_sample_dirichlet", kRandom}, {"rrelu", kRandom},
    {"dropout", kTraining}, {"alpha_dropout", kTraining}, {"feature_dropout", kTraining},
    {"feature_alpha_dropout", kTraining}, {"native_dropout", kTraining},
    {"native_batch_norm.", kTraining}, {"_native_batch_norm_legit.", kTraining},
    {"_native_batch_norm_legit_functional", kTraining}, {"cudnn_batch_norm", kTraining},
    {"_batch_norm_with_update", kTraining}, {"nonzero", kDataDependent},
    {"masked_select", kDataDependent}, {"unique", kDataDependent}, {"_unique", kDataDependent},
    {"argwhere", kDataDependent}, {"bincount", kDataDependent},
    {"repeat_interleave.Tensor", kDataDependent}, {"repeat_interleave.self_Tensor", kDataDependent},
    {"masked_scatter", kDataDependent}, {"item", kValueOfTensor},
    {"_local_scalar_dense", kValueOfTensor}, {"is_nonzero", kValueOfTensor},
    {"Bool", kValueOfTensor}, {"Int", kValueOfTensor}, {"Float", kValueOfTensor},
    {"_assert_async", kValueOfTensor}, {"_assert_scalar", kValueOfTensor},
    {"equal", kValueOfTensor}, {"empty", kUninitialised}, {"new_empty", kUninitialised},
    {"as_strided", kStorage}, {"set.", kStorage}, {"set_", kStorage}, {"resize", kStorage},
    {"from_file", kStorage}, {"_unsafe", kStorage}});
// clang-format on

bool Contains(std::span<const std::string_view> sorted, std::string_view name) {
  return std::binary_search(sorted.begin(), sorted.end(), name);
}

}  // namespace

std::span<const std::string_view> ServedAtenOperators() { return kServedAten; }

bool ServesOperator(std::string_view target) {
  if (target.starts_with(kAten)) return Contains(kServedAten, target.substr(kAten.size()));
  return Contains(kServedOfRows, target);
}

std::string WhyNotServed(std::string_view target) {
  if (target.starts_with("torch.ops.higher_order.")) {
    return "runs other graphs within: only graphs without control flow are served";
  }
  if (target.starts_with("torch.ops.") && !target.starts_with(kAten)) {
    return "is a custom operator: only operators of aten are served";
  }
  if (!target.starts_with(kAten)) return "is not in the list of operators";
  const std::string_view name = target.substr(kAten.size());
  for (const Unserved& unserved : kUnserved) {
    if (name.starts_with(unserved.beginning)) return std::string(unserved.reason);
  }
  if (const std::string_view base = name.substr(0, name.find('.')); base.ends_with('_')) {
    return "changes a tensor in place: export with "
           "torch.export.export(...).run_decompositions({}), "
           "which replaces such operators";
  }
  return "is not in the list of operators";
}

}  // namespace genie_env
